-- What the register said of a startup and a day, last. It may say it late, and twice.
with arrived as (
    select
        line,
        run_date,
        _file,
        _pii_key_version,
        safe.parse_json(line, wide_number_mode => 'round') as change
    from bronze.startups
    where run_date between @since and @run_date
),

typed as (
    select
        line,
        change is null or json_type(change) != 'object' as is_malformed,

        json_value(change, '$.startup_id') as startup_id,
        safe_cast(json_value(change, '$.effective_on') as date) as effective_on,
        lower(json_value(change, '$.change_type')) as change_type,

        trim(json_value(change, '$.name')) as name,
        lower(json_value(change, '$.sector')) as sector,
        upper(json_value(change, '$.country')) as country,
        trim(json_value(change, '$.city')) as city,
        safe_cast(json_value(change, '$.founded_on') as date) as founded_on,
        safe_cast(json_value(change, '$.is_active') as bool) as is_active,

        lower(json_value(change, '$.funding_stage')) as funding_stage,
        safe_cast(json_value(change, '$.funding_stage_score') as int64) as funding_stage_score,
        safe_cast(json_value(change, '$.valuation_usd') as int64) as valuation_usd,
        json_value(change, '$.valuation_bucket') as valuation_bucket,
        safe_cast(json_value(change, '$.total_funding_usd') as int64) as total_funding_usd,
        safe_cast(json_value(change, '$.employees') as int64) as employees,

        json_value(change, '$.contact_email_cleaned') as contact_email_hashed,
        json_value(change, '$.source_url') as source_url,
        safe_cast(json_value(change, '$.schema_version') as int64) as schema_version,
        safe_cast(json_value(change, '$.updated_at') as timestamp) as updated_at,
        safe_cast(json_value(change, '$.load_timestamp') as timestamp) as load_timestamp,

        _pii_key_version as pii_key_version,
        run_date as _loaded_date,
        _file
    from arrived
),

judged as (
    select
        *,
        case
            when is_malformed then 'the line is no JSON object'
            when startup_id is null then 'startup_id is missing'
            when effective_on is null then 'effective_on is missing or no date'
            when updated_at is null then 'updated_at is missing or unreadable'
            when name is null then 'name is missing'
            when is_active is null then 'is_active is missing or not true or false'
        end as _reject_reason
    from typed
)

select
    startup_id,
    effective_on,
    change_type,

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
    pii_key_version,
    source_url,
    schema_version,
    updated_at,
    load_timestamp,
    _loaded_date,
    _file,
    if(_reject_reason is null, null, line) as _line,
    _reject_reason
from judged
