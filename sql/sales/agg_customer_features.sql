-- Only what was known when the day ended. A sale's later fate (a refund, a deletion) was not: until then it stood,
-- if it was not cancelled. Of a sale only the latest state is kept, so one that was refunded and later deleted, or that
-- came late and was then refunded, is taken for one that stood.
with known as (
    select
        customer_id,
        sale_id,
        sale_date,
        total_amount,
        discount,
        channel,
        category,
        date_diff(@run_date, sale_date, day) as days_ago,
        status = 'completed' or (status = 'refunded' and date(updated_at) > @run_date) as is_valid,
        date(updated_at) <= @run_date and status = 'refunded' as is_refunded
    from gold.fct_sales
    where
        sale_date <= @run_date
        and (date(updated_at) <= @run_date or status = 'refunded' or is_deleted)
        and not (is_deleted and date(updated_at) <= @run_date)
),

gaps as (
    select
        *,
        date_diff(
            sale_date,
            last_value(if(is_valid, sale_date, null) ignore nulls) over (
                partition by customer_id
                order by sale_date, sale_id
                rows between unbounded preceding and 1 preceding
            ),
            day
        ) as gap_days
    from known
),

customers as (
    select
        customer_id,
        max(days_ago) as tenure_days,
        min(if(is_valid, days_ago, null)) as recency_days,

        countif(is_valid) as purchases,
        countif(is_valid and days_ago < 7) as purchases_7d,
        countif(is_valid and days_ago < 30) as purchases_30d,
        countif(is_valid and days_ago between 30 and 59) as purchases_30d_before,
        countif(is_valid and days_ago < 90) as purchases_90d,
        avg(if(is_valid, cast(gap_days as float64), null)) as mean_gap_days,
        max(if(is_valid, gap_days, null)) as longest_gap_days,

        cast(sum(if(is_valid, total_amount, 0)) as float64) as revenue,
        cast(sum(if(is_valid and days_ago < 30, total_amount, 0)) as float64) as revenue_30d,
        cast(sum(if(is_valid and days_ago < 90, total_amount, 0)) as float64) as revenue_90d,
        cast(avg(if(is_valid, total_amount, null)) as float64) as mean_amount,
        cast(avg(if(is_valid, discount, null)) as float64) as mean_discount,

        countif(is_refunded) as refunds,
        safe_divide(countif(is_refunded), count(*)) as refund_share,
        safe_divide(countif(channel = 'web'), count(*)) as web_share,
        safe_divide(countif(channel = 'app'), count(*)) as app_share,
        safe_divide(countif(channel = 'store'), count(*)) as store_share,
        count(distinct category) as categories
    from gaps
    group by customer_id
),

-- Sessions that were over before the day began: those of the day itself may be published while this is read.
visitors as (
    select
        customer_id,
        count(*) as visits_30d,
        countif(cart_additions > 0 and not converted) as abandoned_carts_30d
    from gold.fct_sessions
    where
        customer_id is not null
        and date_diff(@run_date, date(ended_at), day) between 1 and 30
    group by customer_id
)

select
    @run_date as as_of,
    customer_id,

    coalesce(recency_days, tenure_days) as recency_days,
    tenure_days,
    purchases,
    purchases_7d,
    purchases_30d,
    purchases_90d,
    purchases_30d - purchases_30d_before as purchases_trend,
    mean_gap_days,
    longest_gap_days,
    safe_divide(coalesce(recency_days, tenure_days), mean_gap_days) as recency_in_gaps,

    revenue,
    revenue_30d,
    revenue_90d,
    mean_amount,
    mean_discount,

    refunds,
    refund_share,
    web_share,
    app_share,
    store_share,
    categories,

    coalesce(visits_30d, 0) as visits_30d,
    coalesce(abandoned_carts_30d, 0) as abandoned_carts_30d
from customers
left join visitors using (customer_id)
