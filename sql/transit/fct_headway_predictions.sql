-- Of a date that was predicted again, the predictions that were loaded last count.
with newest as (
    select
        as_of,
        key,
        value,
        model_version
    from ops.predictions
    where model = 'headway' and as_of = @run_date
    qualify dense_rank() over (order by loaded_at desc, run_id desc) = 1
)

select
    as_of,
    date(json_value(key, '$[0]')) as service_date,
    json_value(key, '$[1]') as stop_id,
    json_value(key, '$[2]') as trip_uid,
    value as predicted_minutes,
    model_version
from newest
