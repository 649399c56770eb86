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

-- Only rows of stops that a trip made twice are ranked: to sort them all would take a quarter of the query's time.
made_twice as (
    select
        service_date,
        trip_uid,
        stop_id,
        arrival_time,
        last_observed,
        _line
    from bronze.stop_times
    where _loaded_date between @since and @run_date
    qualify count(*) over (partition by service_date, trip_uid, stop_id, arrival_time is null) > 1
),

superseded as (
    select
        service_date,
        _line
    from made_twice
    where true
    qualify
        row_number() over (
            partition by service_date, trip_uid, stop_id, arrival_time is null
            order by last_observed desc, _line desc
        ) > 1
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
        -- No moment is made of what is none, such as milliseconds: that would fail the query.
        if(
            abs(seen.arrival_time - unix_date(seen.service_date) * 86400) < 1000000,
            timestamp_seconds(seen.arrival_time),
            null
        ) as arrived_at,
        superseded._line is not null as is_superseded
    from bronze.stop_times as seen
    left join superseded
        on seen.service_date = superseded.service_date and seen._line = superseded._line
    left join trips
        on seen.service_date = trips.service_date and seen.trip_uid = trips.trip_uid
    where seen._loaded_date between @since and @run_date
),

timed as (
    select
        observed.*,
        zone.time_zone,
        extract(datetime from observed.arrived_at at time zone zone.time_zone) as arrived_local,
        if(
            observed.departure_time - observed.arrival_time between 0 and 86400,
            timestamp_seconds(observed.departure_time),
            null
        ) as departed_at
    from observed
    cross join zone
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
    timed.arrived_local,
    timed.time_zone,

    timed._line,
    timed._archive,
    timed._loaded_date,
    case
        when timed.arrival_time is null then 'arrival_time is missing'
        -- A trip belongs to the day that it starts on, by the agency's clock, and may end on the next.
        when
            timed.arrived_local is null
            or date_diff(date(timed.arrived_local), timed.service_date, day) not between -1 and 2
            then 'arrival_time is not of the day'
        when timed.route_id is null then 'the route is told neither by trips.csv nor by the id of the trip'
        when timed.direction_id is null then 'the direction is told neither by trips.csv nor by the id of the trip'
        when timed.is_superseded then 'the trip stops there twice: the row that was observed last counts'
    end as _reject_reason
from timed
left join stops
    on timed.stop_id = stops.stop_id
