select
    sale_id,
    customer_id,

    product,
    category,
    channel,
    region,
    shipping_country,
    payment_method,
    payment_method_category,
    status,
    is_valid_transaction,
    status = 'completed' and not is_deleted as is_valid,

    quantity,
    unit_price,
    discount,
    total_amount,
    currency,
    items,

    sale_date,
    sale_timestamp,
    updated_at,
    is_deleted,
    _loaded_date
from silver.stg_sales
where _loaded_date between @since and @run_date
