-- Rows to predict for: arrivals of the newest day of the last two weeks, since archives come late; @value is the only
-- stop, empty for all.
select *
from gold.fct_headways
where
    service_date between date_sub(@run_date, interval 14 day) and @run_date
    and service_date = (
        select max(service_date)
        from gold.fct_headways
        where service_date between date_sub(@run_date, interval 14 day) and @run_date
    )
    and known_at is not null
    and (@value = '' or stop_id = @value)
