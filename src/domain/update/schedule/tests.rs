use proptest::prelude::*;

use super::*;

fn schedule(cron: &str) -> Schedule {
    Schedule::parse(cron, "UTC").unwrap()
}

fn at(text: &str) -> Timestamp {
    Timestamp(text.parse::<jiff::Timestamp>().unwrap().as_millisecond())
}

/// The next few moments after one, in UTC.
fn due(schedule: &Schedule, after: &str, count: usize) -> Vec<String> {
    let next = |it: &Timestamp| schedule.next(*it);
    let due = std::iter::successors(Some(at(after)), next).skip(1).take(count);
    due.map(|it| jiff::Timestamp::from_millisecond(it.0).unwrap().to_string()).collect()
}

#[test]
fn an_update_is_due_when_cron_says_so() {
    for (cron, first, second) in [
        ("0 4 * * 0", "2026-01-04T04:00:00Z", "2026-01-11T04:00:00Z"),
        ("0 4 * * sun", "2026-01-04T04:00:00Z", "2026-01-11T04:00:00Z"),
        ("0 4 * * 7", "2026-01-04T04:00:00Z", "2026-01-11T04:00:00Z"),
        ("30 */12 * * *", "2026-01-02T12:30:00Z", "2026-01-03T00:30:00Z"),
        ("0 4 1,15 * *", "2026-01-15T04:00:00Z", "2026-02-01T04:00:00Z"),
        ("0 4 * MAR-APR MON-FRI", "2026-03-02T04:00:00Z", "2026-03-03T04:00:00Z"),
        ("0 4 29 2 *", "2028-02-29T04:00:00Z", "2032-02-29T04:00:00Z"),
        ("  5\t4  * * *  ", "2026-01-03T04:05:00Z", "2026-01-04T04:05:00Z"),
        ("@hourly", "2026-01-02T12:00:00Z", "2026-01-02T13:00:00Z"),
        ("@daily", "2026-01-03T00:00:00Z", "2026-01-04T00:00:00Z"),
        ("@weekly", "2026-01-04T00:00:00Z", "2026-01-11T00:00:00Z"),
    ] {
        assert_eq!(due(&schedule(cron), "2026-01-02T11:59:59.500Z", 2), [first, second], "{cron}");
    }
}

#[test]
fn an_update_that_is_due_now_is_due_next_time() {
    let weekly = schedule("0 4 * * 0");
    assert_eq!(due(&weekly, "2026-01-04T04:00:00Z", 1), ["2026-01-11T04:00:00Z"]);
    assert_eq!(due(&weekly, "2026-01-04T03:59:59.999Z", 1), ["2026-01-04T04:00:00Z"]);
}

#[test]
fn a_schedule_keeps_to_the_clocks_of_its_zone() {
    let berlin = |cron| Schedule::parse(cron, "Europe/Berlin").unwrap();
    assert_eq!(berlin(" 0 4 *  * 0").to_string(), "0 4 * * 0 (Europe/Berlin)");
    let weekly = due(&berlin("0 4 * * 0"), "2026-03-16T00:00:00Z", 2);
    assert_eq!(weekly, ["2026-03-22T03:00:00Z", "2026-03-29T02:00:00Z"]);
    // 2026-03-29: the clocks go from 2:00 to 3:00, and there is no 2:30.
    let spring = due(&berlin("30 2 * * *"), "2026-03-28T00:00:00Z", 3);
    assert_eq!(spring, ["2026-03-28T01:30:00Z", "2026-03-29T01:00:00Z", "2026-03-30T00:30:00Z"]);
    let both = due(&berlin("0 2,3 * * *"), "2026-03-29T00:00:00Z", 2);
    assert_eq!(both, ["2026-03-29T01:00:00Z", "2026-03-30T00:00:00Z"]);
    // 2026-10-25: the clocks go back from 3:00 to 2:00, and 2:30 comes twice.
    let autumn = due(&berlin("30 2 * * *"), "2026-10-24T00:00:00Z", 3);
    assert_eq!(autumn, ["2026-10-24T00:30:00Z", "2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z"]);
    assert_eq!(due(&berlin("30 2 * * *"), "2026-10-25T00:45:00Z", 1), ["2026-10-26T01:30:00Z"]);
}

#[test]
fn what_is_no_schedule_says_why() {
    let said = |cron| Schedule::parse(cron, "UTC").unwrap_err().to_string();
    for often in ["* * * * *", "*/30 * * * *", "0,30 4 * * 0", "0-59/59 * * * *"] {
        assert_eq!(Schedule::parse(often, "UTC"), Err(NotASchedule::TooOften), "{often}");
    }
    for never in ["0 4 31 2 *", "0 4 30 feb *", "0 4 31 4,6,9,11 *"] {
        assert_eq!(Schedule::parse(never, "UTC"), Err(NotASchedule::Never), "{never}");
    }
    insta::assert_snapshot!(said("weekly"), @r#"is no cron expression (it has 1 field); give minute, hour, day of month, month and day of week, such as "0 4 * * 0", or "@daily", "@weekly""#);
    insta::assert_snapshot!(said(""), @r#"is no cron expression (it has 0 fields); give minute, hour, day of month, month and day of week, such as "0 4 * * 0", or "@daily", "@weekly""#);
    insta::assert_snapshot!(said("0 25 * * *"), @r#"is no cron expression (Number out of bounds); give minute, hour, day of month, month and day of week, such as "0 4 * * 0", or "@daily", "@weekly""#);
    insta::assert_snapshot!(said("0 0 4 * * 0"), @r#"is no cron expression (it has 6 fields); give minute, hour, day of month, month and day of week, such as "0 4 * * 0", or "@daily", "@weekly""#);
    insta::assert_snapshot!(said("* * * * *"), @r#"is due more than once an hour; an update builds every host: once an hour at most, so give one minute, such as "0 4 * * 0""#);
    insta::assert_snapshot!(said("0 4 31 2 *"), @"is never due: no month that it names has such a day; mend the day or the month");
    for zone in ["", "Berlin", "Europe/Berlin\n", "../etc/passwd", "+02:00"] {
        assert_eq!(Schedule::parse("0 4 * * 0", zone), Err(NotASchedule::Zone), "{zone}");
    }
}

#[test]
fn repositories_are_spread_over_ten_minutes_and_each_keeps_its_place() {
    assert_eq!(jitter(RepositoryId(7)), jitter(RepositoryId(7)));
    let minutes = |ids: std::ops::Range<i64>| {
        let mut minutes = [0; 10];
        ids.for_each(|id| {
            let minute = jitter(RepositoryId(id)).as_secs() / 60;
            minutes[usize::try_from(minute).unwrap()] += 1;
        });
        minutes
    };
    for start in [0, 1 << 20, 1_296_269, i64::MAX - 10_000] {
        let minutes = minutes(start..start + 10_000);
        assert!(minutes.iter().all(|it| (900..1100).contains(it)), "{minutes:?}");
    }
}

proptest! {
    // A year of days for each.
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn the_next_moment_is_the_first_that_matches(
        (minute, hour, day) in (0i8..60, 0i8..24, 0i8..7),
        after in 0i64..4_000_000_000_000,
    ) {
        let schedule = schedule(&format!("{minute} {hour} * * {day}"));
        let matches = |it: jiff::Timestamp| {
            let it = it.to_zoned_datetime(TimeZone::UTC);
            (it.minute(), it.hour(), it.weekday().to_sunday_zero_offset()) == (minute, hour, day)
        };
        let minutes = after.div_euclid(60_000) + 1..;
        let first = minutes.take(8 * 24 * 60)
            .map(|it| jiff::Timestamp::from_second(it * 60).unwrap())
            .find(|it| matches(*it))
            .unwrap();
        prop_assert_eq!(schedule.next(Timestamp(after)), Some(Timestamp(first.as_millisecond())));
    }

    #[test]
    fn in_a_zone_with_summer_time_it_is_due_once_a_day(
        (minute, hour) in (0i8..60, 0i8..24),
        day in 0i64..20_000,
        zone in "Europe/Berlin|America/New_York|Australia/Lord_Howe|Asia/Kathmandu",
    ) {
        let schedule = Schedule::parse(&format!("{minute} {hour} * * *"), &zone).unwrap();
        let mut moment = Timestamp(day * 86_400_000);
        let mut last = None;
        for _ in 0..400 {
            let next = schedule.next(moment).unwrap();
            prop_assert!(next > moment);
            let there = jiff::Timestamp::from_millisecond(next.0).unwrap();
            let date = there.to_zoned_datetime(schedule.zone.clone()).date();
            let is_tomorrow = last.is_none_or(|it: civil::Date| it.tomorrow().unwrap() == date);
            prop_assert!(is_tomorrow, "{} after {:?}", there, last);
            (moment, last) = (next, Some(date));
        }
    }

    #[test]
    fn no_text_and_no_time_makes_it_panic(
        cron in "\\PC{0,30}|[0-9*/,LW#+?a-z -]{0,30}|([0-9*/,-]{1,4} ){5}",
        zone in "UTC|[A-Z][a-z]{1,8}/[A-Z][a-z]{1,8}|\\PC{0,20}",
        after in any::<i64>(),
    ) {
        match Schedule::parse(&cron, &zone) {
            Ok(schedule) => prop_assert!(schedule.next(Timestamp(after)).is_none_or(|it| it.0 > after)),
            Err(error) => prop_assert!(!error.to_string().contains(char::is_control)),
        }
    }
}
