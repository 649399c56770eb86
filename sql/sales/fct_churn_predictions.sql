-- Of a date that was predicted again, the predictions that were loaded last count.
select
    @run_date as as_of,
    key as customer_id,
    value as churn_probability,
    model_version
from ops.predictions
where model = 'churn' and as_of = @run_date
qualify dense_rank() over (order by loaded_at desc, run_id desc) = 1
