select
    fact.sale_id,
    fact.sale_date,
    fact.sale_timestamp,
    fact.status,
    fact.is_valid,

    fact.customer_id,
    customer.region as customer_region,
    customer.shipping_country as customer_country,

    fact.product,
    fact.category,
    fact.channel,
    fact.payment_method,
    fact.quantity,
    fact.total_amount,
    fact.currency
from gold.fct_sales as fact
left join gold.dim_customer as customer
    on
        fact.customer_id = customer.customer_id
        and fact.sale_timestamp >= customer.valid_from
        and (fact.sale_timestamp < customer.valid_to or customer.valid_to is null)
where not fact.is_deleted
