-- What drifted from its declared type lies in _rest: read it where it can be read, reject the row where it cannot.
with arrived as (
    select
        *,
        safe.parse_json(_rest) as rest
    from bronze.sales
    where run_date between @since and @run_date
),

typed as (
    select
        coalesce(sale_id, json_value(rest, '$.sale_id')) as sale_id,
        coalesce(customer_id, json_value(rest, '$.customer_id')) as customer_id,
        contact_email_hashed,
        credit_card_last4,

        trim(product) as product,
        lower(trim(category)) as category,
        coalesce(quantity, safe_cast(json_value(rest, '$.quantity') as int64)) as quantity,
        coalesce(safe_cast(unit_price as numeric), safe_cast(json_value(rest, '$.unit_price') as numeric)) as unit_price,
        coalesce(safe_cast(discount as numeric), safe_cast(json_value(rest, '$.discount') as numeric), 0) as discount,
        coalesce(
            safe_cast(total_amount as numeric), safe_cast(json_value(rest, '$.total_amount') as numeric)
        ) as total_amount,
        upper(currency) as currency,

        lower(channel) as channel,
        region,
        lower(status) as status,
        is_valid_transaction,
        lower(payment_method) as payment_method,
        lower(payment_method_category) as payment_method_category,
        array(
            select as struct
                item.sku,
                item.product,
                item.quantity,
                round(safe_cast(item.unit_price as numeric), 2) as unit_price
            from unnest(items) as item with offset as position
            order by position
        ) as items,
        shipping.city as shipping_city,
        shipping.country as shipping_country,
        shipping.phone as shipping_phone_hashed,
        _pii_key_version as pii_key_version,
        schema_version,

        sale_timestamp,
        updated_at,
        _is_deleted as is_deleted,
        run_date as _loaded_date
    from arrived
)

select
    sale_id,
    customer_id,
    contact_email_hashed,
    credit_card_last4,

    product,
    category,
    quantity,
    round(unit_price, 2) as unit_price,
    discount,
    round(total_amount, 2) as total_amount,
    currency,

    channel,
    region,
    status,
    is_valid_transaction,
    payment_method,
    payment_method_category,
    items,
    shipping_city,
    shipping_country,
    shipping_phone_hashed,
    pii_key_version,
    schema_version,

    date(sale_timestamp) as sale_date,
    sale_timestamp,
    updated_at,
    is_deleted,
    _loaded_date,

    case
        when sale_id is null then 'sale_id is missing'
        when customer_id is null then 'customer_id is missing'
        when sale_timestamp is null then 'sale_timestamp is missing or unreadable'
        when updated_at is null then 'updated_at is missing or no timestamp'
        when total_amount is null then 'total_amount is no number'
        when quantity is null then 'quantity is no whole number'
    end as _reject_reason
from typed
