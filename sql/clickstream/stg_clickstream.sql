-- Each line is read once. What is no JSON object, or lacks what an event needs, is rejected with its file and its text.
with arrived as (
    select
        line,
        run_date,
        _file,
        _pii_key_version,
        safe.parse_json(line, wide_number_mode => 'round') as event
    from bronze.clickstream
    where run_date between @since and @run_date
),

typed as (
    select
        line,
        event is null or json_type(event) != 'object' as is_malformed,

        json_value(event, '$.event_id') as event_id,
        json_value(event, '$.session_id') as session_id,
        json_value(event, '$.visitor_id') as visitor_id,
        json_value(event, '$.customer_id') as customer_id,

        lower(json_value(event, '$.event_type')) as event_type,
        json_value(event, '$.page_url') as page_url,
        json_value(event, '$.page_path') as page_path,
        json_value(event, '$.referrer_url') as referrer_url,
        lower(json_value(event, '$.referrer_domain')) as referrer_domain,
        json_value(event, '$.utm_source') as utm_source,
        json_value(event, '$.utm_medium') as utm_medium,
        json_value(event, '$.utm_campaign') as utm_campaign,

        json_value(event, '$.device.type') as device_type,
        json_value(event, '$.device.os') as device_os,
        json_value(event, '$.device.browser') as device_browser,
        json_value(event, '$.device_type_category') as device_type_category,
        upper(json_value(event, '$.geo.country')) as country,

        json_value(event, '$.properties.product') as product,
        json_value(event, '$.properties.sku') as sku,
        safe_cast(json_value(event, '$.properties.quantity') as int64) as quantity,
        round(safe_cast(json_value(event, '$.properties.value') as numeric), 2) as value,
        json_value(event, '$.properties.search_text') as search_text,
        array(
            select as struct
                json_value(item, '$.sku') as sku,
                json_value(item, '$.product') as product,
                safe_cast(json_value(item, '$.quantity') as int64) as quantity,
                round(safe_cast(json_value(item, '$.unit_price') as numeric), 2) as unit_price
            from unnest(json_query_array(event, '$.properties.cart')) as item with offset as position
            order by position
        ) as cart,

        safe_cast(json_value(event, '$.is_bounce') as bool) as is_bounce,
        json_value(event, '$.ip_address') as ip_address_hashed,
        safe_cast(json_value(event, '$.schema_version') as int64) as schema_version,
        safe_cast(json_value(event, '$.event_timestamp') as timestamp) as event_timestamp,
        safe_cast(json_value(event, '$.load_timestamp') as timestamp) as load_timestamp,

        _pii_key_version as pii_key_version,
        run_date as _loaded_date,
        _file
    from arrived
),

judged as (
    select
        *,
        case
            when is_malformed then 'the line is no JSON object'
            when event_id is null then 'event_id is missing'
            when session_id is null then 'session_id is missing'
            when visitor_id is null then 'visitor_id is missing'
            when event_type is null then 'event_type is missing'
            when event_timestamp is null then 'event_timestamp is missing or unreadable'
            when load_timestamp is null then 'load_timestamp is missing or unreadable'
        end as _reject_reason
    from typed
)

select
    event_id,
    session_id,
    visitor_id,
    customer_id,

    event_type,
    page_url,
    page_path,
    referrer_url,
    referrer_domain,
    utm_source,
    utm_medium,
    utm_campaign,

    device_type,
    device_os,
    device_browser,
    device_type_category,
    country,

    product,
    sku,
    quantity,
    value,
    search_text,
    cart,

    is_bounce,
    ip_address_hashed,
    pii_key_version,
    schema_version,

    date(event_timestamp) as event_date,
    event_timestamp,
    load_timestamp,
    _loaded_date,
    _file,
    if(_reject_reason is null, null, line) as _line,
    _reject_reason
from judged
