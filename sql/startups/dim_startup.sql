-- A version lasts from the first day on which the startup is so to the first on which it is otherwise. It is made from
-- all that the register ever said, so a change that comes late takes its place in the midst.
with compared as (
    select
        *,
        lag(looks) over (partition by startup_id order by effective_on) as looked
    from (
        select
            *,
            to_json_string(
                struct(
                    name as name,
                    sector as sector,
                    country as country,
                    city as city,
                    founded_on as founded_on,
                    is_active as is_active,
                    funding_stage as funding_stage,
                    funding_stage_score as funding_stage_score,
                    valuation_usd as valuation_usd,
                    valuation_bucket as valuation_bucket,
                    total_funding_usd as total_funding_usd,
                    employees as employees
                )
            ) as looks
        from silver.stg_startups
    )
),

versions as (
    select
        *,
        row_number() over (partition by startup_id order by effective_on) as version,
        lead(effective_on) over (partition by startup_id order by effective_on) as valid_to
    from compared
    where looked is null or looked != looks
)

select
    startup_id,
    version,

    name,
    sector,
    country,
    city,
    founded_on,
    is_active,

    funding_stage,
    funding_stage_score,
    valuation_usd,
    valuation_bucket,
    total_funding_usd,
    employees,
    contact_email_hashed,

    effective_on as valid_from,
    valid_to,
    valid_to is null as is_current
from versions
