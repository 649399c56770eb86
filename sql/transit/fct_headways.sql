-- What is known of a headway when it begins: a row's headway ends with its own arrival, it began when the previous train
-- of the route left (known_at), and every column that a model may learn from is as of then.
--
-- A day that was loaded changes rows of its own, of the day before (trains of both run after midnight), and of the 29
-- after it (the first headway of the next day is its own, and medians look 28 days back): these are built anew. Days
-- before @lookback_start are left to a full refresh: so the night reads some weeks, not years.
with touched as (
    select distinct touched_date as service_date
    from bronze.transit_days as days
    cross join unnest(
        generate_date_array(date_sub(days.service_date, interval 1 day), date_add(days.service_date, interval 29 day))
    ) as touched_date
    inner join bronze.transit_days as there
        on touched_date = there.service_date
    where
        days._loaded_date between @since and @run_date
        and touched_date >= @lookback_start
),

span as (
    select
        date_sub(min(service_date), interval 30 day) as first_date,
        date_add(max(service_date), interval 1 day) as last_date
    from touched
),

arrivals as (
    select
        arrived.*,
        -- A departure that cannot be one would make the future known.
        if(
            arrived.departed_at <= timestamp_add(arrived.arrived_at, interval 30 minute),
            arrived.departed_at,
            arrived.arrived_at
        ) as left_at
    from silver.stg_arrivals as arrived
    inner join span
        on arrived.service_date between span.first_date and span.last_date
    where arrived.service_date >= date_sub(@lookback_start, interval 30 day)
),

in_order as (
    select
        *,
        lag(arrived_at) over route_at_stop as previous_arrived_at,
        lead(arrived_at) over route_at_stop as next_arrived_at,
        lag(route_id) over at_stop as ahead_route_id,
        lag(arrived_at) over at_stop as ahead_arrived_at,
        row_number() over of_trip as place_in_trip
    from arrivals
    window
        route_at_stop as (partition by stop_id, route_id, direction_id order by arrived_at, trip_uid),
        at_stop as (partition by stop_id, direction_id order by arrived_at, trip_uid),
        of_trip as (partition by service_date, trip_uid order by arrived_at, stop_id)
),

-- Of each train: the headway that it ended, the train ahead of it, and how things were five stops upstream.
trains as (
    select
        *,
        if(
            timestamp_diff(arrived_at, previous_arrived_at, second) <= 90 * 60,
            timestamp_diff(arrived_at, previous_arrived_at, second) / 60,
            null
        ) as headway_minutes,
        if(
            timestamp_diff(arrived_at, ahead_arrived_at, second) <= 90 * 60,
            timestamp_diff(arrived_at, ahead_arrived_at, second) / 60,
            null
        ) as ahead_gap_minutes,
        if(place_in_trip > 5, lag(arrived_at, 5) over of_trip, first_value(arrived_at) over of_trip) as upstream_at,
        if(
            place_in_trip > 5, lag(next_arrived_at, 5) over of_trip, first_value(next_arrived_at) over of_trip
        ) as upstream_next_at
    from in_order
    window of_trip as (partition by service_date, trip_uid order by arrived_at, stop_id)
),

-- The same, of the previous train: all of that is known when it leaves, but for what happens upstream later.
previous as (
    select
        *,
        lag(trip_uid) over route_at_stop as previous_trip_uid,
        lag(left_at) over route_at_stop as previous_left_at,
        lag(headway_minutes) over route_at_stop as previous_headway_minutes,
        lag(ahead_route_id) over route_at_stop as previous_ahead_route_id,
        lag(ahead_gap_minutes) over route_at_stop as previous_ahead_gap_minutes,
        lag(if(place_in_trip > 1, upstream_at, null)) over route_at_stop as previous_upstream_at,
        lag(if(place_in_trip > 1, upstream_next_at, null)) over route_at_stop as previous_upstream_next_at
    from trains
    window route_at_stop as (partition by stop_id, route_id, direction_id order by arrived_at, trip_uid)
),

-- At a terminal the previous train may still stand there when the next one comes: nothing is left to be known of then.
known as (
    select
        *,
        if(headway_minutes is not null and previous_left_at < arrived_at, previous_left_at, null) as known_at,
        date(arrived_local) as arrived_date
    from previous
),

clocked as (
    select
        *,
        extract(datetime from known_at at time zone time_zone) as known_local,
        previous_upstream_next_at <= known_at as is_next_upstream
    from known
),

begun as (
    select
        *,
        date(known_local) as known_date,
        extract(hour from known_local) as known_hour,
        case extract(dayofweek from known_local) when 1 then 'sunday' when 7 then 'saturday' else 'weekday' end as day_type
    from clocked
),

asked as (
    select
        begun.stop_id,
        begun.route_id,
        begun.direction_id,
        begun.known_date,
        begun.known_hour,
        begun.day_type
    from begun
    inner join touched
        on begun.service_date = touched.service_date
    where begun.known_date is not null
    group by 1, 2, 3, 4, 5, 6
),

-- A headway counts on the day that it ended.
medians as (
    select
        asked.stop_id,
        asked.route_id,
        asked.direction_id,
        asked.known_date,
        asked.known_hour,
        past.headway_minutes
    from asked
    inner join begun as past
        on
            asked.stop_id = past.stop_id
            and asked.route_id = past.route_id
            and asked.direction_id = past.direction_id
            and asked.known_hour = past.known_hour
            and asked.day_type = past.day_type
            and past.arrived_date >= date_sub(asked.known_date, interval 28 day)
            and past.arrived_date < asked.known_date
    where true
    -- The k-th of n is the middle one where n is 2k - 1 or 2k.
    qualify
        2 * row_number() over (
            partition by asked.stop_id, asked.route_id, asked.direction_id, asked.known_date, asked.known_hour
            order by past.headway_minutes, past.arrived_at, past.trip_uid
        ) - count(*) over (
            partition by asked.stop_id, asked.route_id, asked.direction_id, asked.known_date, asked.known_hour
        ) in (0, 1)
),

-- The schedule: which services run on which date, when their trips are due, and how far apart.
dates as (
    select service_date
    from span
    cross join unnest(generate_date_array(date_add(first_date, interval 27 day), last_date)) as service_date
),

running as (
    select
        dates.service_date,
        calendar.service_id
    from bronze.gtfs_calendar as calendar
    inner join dates
        on dates.service_date between calendar.start_date and calendar.end_date
    left join bronze.gtfs_calendar_dates as exceptions
        on
            calendar.service_id = exceptions.service_id
            and dates.service_date = exceptions.date
            and exceptions.exception_type = 2
    where
        exceptions.date is null
        and case extract(dayofweek from dates.service_date)
            when 1 then sunday
            when 2 then monday
            when 3 then tuesday
            when 4 then wednesday
            when 5 then thursday
            when 6 then friday
            else saturday
        end = 1
    union distinct
    select
        date as service_date,
        service_id
    from bronze.gtfs_calendar_dates
    inner join dates
        on gtfs_calendar_dates.date = dates.service_date
    where exception_type = 1
),

due as (
    select
        stop_times.stop_id,
        trips.route_id,
        trips.direction_id,
        stop_times.trip_id,
        zone.time_zone,
        -- Counted from noon minus 12 hours, which is not midnight where the clock changes.
        timestamp_add(
            parse_timestamp('%Y-%m-%d %H', concat(cast(running.service_date as string), ' 12'), zone.time_zone),
            interval coalesce(stop_times.arrival_time, stop_times.departure_time) - 43200 second
        ) as due_at
    from running
    inner join bronze.gtfs_trips as trips
        on running.service_id = trips.service_id
    inner join bronze.gtfs_stop_times as stop_times
        on trips.trip_id = stop_times.trip_id
    cross join (select min(time_zone) as time_zone from arrivals) as zone
    where coalesce(stop_times.arrival_time, stop_times.departure_time) is not null
),

due_apart as (
    select
        *,
        timestamp_diff(due_at, lag(due_at) over route_at_stop, second) / 60 as headway_minutes
    from due
    window route_at_stop as (partition by stop_id, route_id, direction_id order by due_at, trip_id)
),

scheduled as (
    select
        stop_id,
        route_id,
        direction_id,
        date(due_at, time_zone) as due_date,
        extract(hour from due_at at time zone time_zone) as due_hour,
        avg(headway_minutes) as headway_minutes
    from due_apart
    where headway_minutes <= 90
    group by 1, 2, 3, 4, 5
)

select
    begun.service_date,
    begun.stop_id,
    begun.trip_uid,

    begun.stop_name,
    begun.route_id,
    begun.direction_id,
    begun.track,

    begun.arrived_at,
    begun.arrived_local,
    round(begun.headway_minutes, 6) as headway_minutes,

    begun.known_at,
    if(begun.known_at is null, null, begun.previous_trip_uid) as previous_trip_uid,
    if(begun.known_at is null, null, begun.previous_ahead_route_id) as previous_route_id,
    if(begun.known_at is null, null, if(begun.previous_ahead_route_id = begun.route_id, 1, 0)) as is_previous_same_route,
    if(begun.known_at is null, null, round(begun.previous_headway_minutes, 6)) as previous_headway_minutes,
    if(begun.known_at is null, null, round(begun.previous_ahead_gap_minutes, 6)) as previous_gap_minutes,
    if(
        begun.is_next_upstream,
        round(timestamp_diff(begun.previous_upstream_next_at, begun.previous_upstream_at, second) / 60, 6),
        null
    ) as upstream_gap_minutes,
    if(begun.known_at is null, null, if(coalesce(begun.is_next_upstream, false), 1, 0)) as is_next_upstream,
    round(timestamp_diff(begun.known_at, begun.previous_upstream_at, second) / 60, 6) as upstream_minutes,
    round(scheduled.headway_minutes, 6) as scheduled_headway_minutes,
    round(medians.headway_minutes, 6) as median_headway_minutes,

    -- 0 is added since -0.0 and 0.0 are one value, of which a warehouse may store either: -0.0 + 0 is 0.0.
    round(sin(2 * acos(-1) * (begun.known_hour + extract(minute from begun.known_local) / 60) / 24), 6) + 0 as hour_sin,
    round(cos(2 * acos(-1) * (begun.known_hour + extract(minute from begun.known_local) / 60) / 24), 6) + 0 as hour_cos,
    extract(dayofweek from begun.known_local) as weekday,
    round(sin(2 * acos(-1) * extract(month from begun.known_local) / 12), 6) + 0 as month_sin,
    round(cos(2 * acos(-1) * extract(month from begun.known_local) / 12), 6) + 0 as month_cos,

    @run_date as _built_date
from begun
inner join touched
    on begun.service_date = touched.service_date
left join medians
    on
        begun.stop_id = medians.stop_id
        and begun.route_id = medians.route_id
        and begun.direction_id = medians.direction_id
        and begun.known_date = medians.known_date
        and begun.known_hour = medians.known_hour
left join scheduled
    on
        begun.stop_id = scheduled.stop_id
        and begun.route_id = scheduled.route_id
        and begun.direction_id = scheduled.direction_id
        and begun.known_date = scheduled.due_date
        and begun.known_hour = scheduled.due_hour
