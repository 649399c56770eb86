-- Rows to predict for: every customer as of the run's date.
select *
from gold.agg_customer_features
where as_of = @run_date
