-- A customer's version lasts from the first sale that shows it to the first sale that shows another.
with living as (
    select
        customer_id,
        contact_email_hashed,
        region,
        shipping_city,
        shipping_country,
        sale_timestamp,
        to_json_string(
            struct(
                contact_email_hashed as contact_email_hashed,
                region as region,
                shipping_city as shipping_city,
                shipping_country as shipping_country
            )
        ) as looks
    from silver.stg_sales
    where not is_deleted
    -- Of sales made in the same moment the last by id speaks.
    qualify row_number() over (partition by customer_id, sale_timestamp order by sale_id desc) = 1
),

compared as (
    select
        *,
        lag(looks) over (partition by customer_id order by sale_timestamp) as looked
    from living
),

versions as (
    select
        customer_id,
        row_number() over (partition by customer_id order by sale_timestamp) as version,
        contact_email_hashed,
        region,
        shipping_city,
        shipping_country,
        sale_timestamp as valid_from,
        lead(sale_timestamp) over (partition by customer_id order by sale_timestamp) as valid_to
    from compared
    where looked is null or looked != looks
)

select
    customer_id,
    version,
    contact_email_hashed,
    region,
    shipping_city,
    shipping_country,
    valid_from,
    valid_to,
    valid_to is null as is_current
from versions
