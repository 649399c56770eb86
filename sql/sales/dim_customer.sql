with living as (
    select
        customer_id,
        contact_email_hashed,
        region,
        shipping_city,
        shipping_country,
        sale_id,
        sale_date,
        sale_timestamp
    from silver.stg_sales
    where not is_deleted
),

latest as (
    select
        customer_id,
        contact_email_hashed,
        region,
        shipping_city,
        shipping_country
    from living
    qualify row_number() over (partition by customer_id order by sale_timestamp desc, sale_id desc) = 1
),

life as (
    select
        customer_id,
        min(sale_date) as first_sale_date,
        max(sale_date) as last_sale_date,
        count(*) as sales
    from living
    group by customer_id
)

select
    latest.customer_id,
    latest.contact_email_hashed,
    latest.region,
    latest.shipping_city,
    latest.shipping_country,
    life.sales,
    life.first_sale_date,
    life.last_sale_date
from latest
inner join life on latest.customer_id = life.customer_id
