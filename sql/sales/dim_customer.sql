-- A customer's version lasts from the first sale that shows it to the first sale that shows another.
with living as (
    select
        customer_id,
        contact_email_hashed,
        region,
        shipping_city,
        shipping_country,
        sale_timestamp
    from silver.stg_sales
    where not is_deleted
    -- Of sales made in the same moment the last by id speaks.
    qualify row_number() over (partition by customer_id, sale_timestamp order by sale_id desc) = 1
),

-- What a sale does not tell is as it was last told; before it was ever told, as it first was.
told as (
    select
        customer_id,
        coalesce(
            last_value(contact_email_hashed ignore nulls) over so_far, first_value(contact_email_hashed ignore nulls) over ever
        ) as contact_email_hashed,
        coalesce(last_value(region ignore nulls) over so_far, first_value(region ignore nulls) over ever) as region,
        coalesce(
            last_value(shipping_city ignore nulls) over so_far, first_value(shipping_city ignore nulls) over ever
        ) as shipping_city,
        coalesce(
            last_value(shipping_country ignore nulls) over so_far, first_value(shipping_country ignore nulls) over ever
        ) as shipping_country,
        sale_timestamp
    from living
    window
        sales as (partition by customer_id order by sale_timestamp),
        so_far as (sales rows between unbounded preceding and current row),
        ever as (sales rows between unbounded preceding and unbounded following)
),

looking as (
    select
        *,
        to_json_string(
            struct(
                contact_email_hashed as contact_email_hashed,
                region as region,
                shipping_city as shipping_city,
                shipping_country as shipping_country
            )
        ) as looks
    from told
),

compared as (
    select
        *,
        lag(looks) over (partition by customer_id order by sale_timestamp) as looked
    from looking
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
