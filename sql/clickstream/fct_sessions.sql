-- All of a session's events, whichever dates they came on. A late one can move a session's beginning to an earlier day,
-- so no partition can be mended by itself: the table is made anew.
with ordered as (
    select
        *,
        row_number() over (partition by session_id order by event_timestamp, event_id) as place,
        row_number() over (partition by session_id order by event_timestamp desc, event_id desc) as place_from_last,
        first_value(customer_id ignore nulls) over (
            partition by session_id
            order by event_timestamp, event_id
            rows between unbounded preceding and unbounded following
        ) as first_customer_id
    from silver.stg_clickstream
),

sessions as (
    select
        session_id,
        max(if(place = 1, visitor_id, null)) as visitor_id,
        max(first_customer_id) as customer_id,

        min(event_timestamp) as started_at,
        max(event_timestamp) as ended_at,
        count(*) as events,
        countif(event_type = 'page_view') as pages,
        countif(event_type = 'search') as searches,
        countif(event_type = 'add_to_cart') as cart_additions,
        countif(event_type = 'purchase') as purchases,
        coalesce(sum(if(event_type = 'purchase', value, null)), 0) as revenue,

        max(if(place = 1, page_path, null)) as entry_page,
        max(if(place_from_last = 1, page_path, null)) as exit_page,
        max(if(place = 1, referrer_domain, null)) as referrer_domain,
        max(if(place = 1, utm_source, null)) as utm_source,
        max(if(place = 1, utm_medium, null)) as utm_medium,
        max(if(place = 1, utm_campaign, null)) as utm_campaign,

        max(if(place = 1, device_type_category, null)) as device_type_category,
        max(if(place = 1, device_os, null)) as device_os,
        max(if(place = 1, device_browser, null)) as device_browser,
        max(if(place = 1, country, null)) as country,
        max(_loaded_date) as _loaded_date
    from ordered
    group by session_id
)

select
    session_id,
    visitor_id,
    customer_id,

    date(started_at) as session_date,
    started_at,
    ended_at,
    timestamp_diff(ended_at, started_at, millisecond) / 1000 as duration_seconds,

    events,
    pages,
    searches,
    cart_additions,
    purchases,
    revenue,
    events = 1 as is_bounce,
    purchases > 0 as converted,

    entry_page,
    exit_page,
    referrer_domain,
    utm_source,
    utm_medium,
    utm_campaign,

    device_type_category,
    device_os,
    device_browser,
    country,
    _loaded_date
from sessions
