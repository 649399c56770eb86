-- An archive brings a whole day, so a whole day is replaced. Which route a train ran on, trips.csv tells: the letter in
-- the trip's id may be another one's (6 for 6X, N for W). Only where it says nothing, the id does: 1747931220_A..S58R.
with zone as (
    select min(agency_timezone) as time_zone
    from bronze.gtfs_agency
),

stops as (
    select
        stop_id,
        stop_name,
        parent_station
    from bronze.gtfs_stops
    where true
    qualify row_number() over (partition by stop_id order by stop_name) = 1
),

trips as (
    select *
    from bronze.trips
    where _loaded_date between @since and @run_date
    qualify row_number() over (partition by service_date, trip_uid order by num_updates desc, _line desc) = 1
),

observed as (
    select
        seen.service_date,
        seen.trip_uid,
        seen.stop_id,
        coalesce(nullif(trim(trips.route_id), ''), regexp_extract(seen.trip_uid, r'^[0-9]+_([^.]+)[.]')) as route_id,
        case
            when trips.direction_id in (0, 1) then trips.direction_id
            when regexp_contains(seen.trip_uid, r'^[0-9]+_[^.]+[.]+N') then 0
            when regexp_contains(seen.trip_uid, r'^[0-9]+_[^.]+[.]+S') then 1
        end as direction_id,
        trips.trip_id,
        trips.vehicle_id,
        nullif(trim(seen.track), '') as track,
        seen.arrival_time,
        seen.departure_time,
        seen._line,
        seen._archive,
        seen._loaded_date,
        zone.time_zone,
        -- Seconds after the day's midnight in the agency's zone; a day has 23, 24 or 25 hours.
        seen.arrival_time - unix_seconds(parse_timestamp('%Y-%m-%d', cast(seen.service_date as string), zone.time_zone)) as seconds_of_day,
        row_number() over (
            partition by seen.service_date, seen.trip_uid, seen.stop_id, seen.arrival_time is null
            order by seen.last_observed desc, seen._line desc
        ) as place
    from bronze.stop_times as seen
    cross join zone
    left join trips
        on seen.service_date = trips.service_date and seen.trip_uid = trips.trip_uid
    where seen._loaded_date between @since and @run_date
),

judged as (
    select
        *,
        case
            when arrival_time is null then 'arrival_time is missing'
            -- A trip belongs to the day that it starts on, and may end on the next.
            when seconds_of_day not between -86400 and 3 * 86400 then 'arrival_time is not of the day'
            when route_id is null then 'the route is told neither by trips.csv nor by the id of the trip'
            when direction_id is null then 'the direction is told neither by trips.csv nor by the id of the trip'
            when place > 1 then 'the trip stops there twice: the row that was observed last counts'
        end as _reject_reason
    from observed
),

timed as (
    select
        *,
        -- No moment is made of what is none: that would fail the query.
        if(abs(seconds_of_day) < 1000000, timestamp_seconds(arrival_time), null) as arrived_at,
        if(departure_time - arrival_time between 0 and 86400, timestamp_seconds(departure_time), null) as departed_at
    from judged
)

select
    timed.service_date,
    timed.trip_uid,
    timed.stop_id,

    timed.route_id,
    timed.direction_id,
    timed.trip_id,
    timed.vehicle_id,

    stops.stop_name,
    stops.parent_station as station_id,
    timed.track,

    timed.arrived_at,
    timed.departed_at,
    extract(datetime from timed.arrived_at at time zone timed.time_zone) as arrived_local,
    timed.time_zone,

    timed._line,
    timed._archive,
    timed._loaded_date,
    timed._reject_reason
from timed
left join stops
    on timed.stop_id = stops.stop_id
