//! What each statement tells, to whom, and with which fields.

use super::{
    ALL_FACIALS, BOOKED, FACIALS_BUT_AT_TEN, PEOPLE, Spa, Told, booking_as, day_told, free, hours,
    morning, status_changed, with,
};
use crate::support::{Version, on_every_version};
use serde_json::json;

async fn payment_completed(version: Version) {
    let mut spa = Spa::open(version, "").await;
    let told = |people, more| -> Told<'_> {
        let payment = json!({
            "paymentId": 61, "customerId": 1, "totalAmount": 80.0, "paymentMethod": "ONLINE",
            "paymentDate": "2099-01-02T02:04:05Z", "referenceNumber": "R-1", "customerName": "Ann",
            "items": [{ "paymentItemId": 81, "serviceId": 5, "serviceName": "Swedish Massage",
                "quantity": 1, "unitPrice": 80.0, "totalPrice": 80.0, "serviceDuration": 60 }],
        });
        ("PAYMENT_COMPLETED", "payments", people, with(payment, more))
    };
    let all = [
        told(&["Ann"], json!({ "customerName": null })),
        told(&["Rita"], json!({ "referenceNumber": null })),
        told(&["Max", "Ada"], json!({})),
    ];
    // The items come after their payment, in the same transaction.
    let pay = "begin;
        insert into spa.payments
          (payment_id, customer_id, total_amount, payment_method, reference_number, payment_date)
        values (61, 1, 80.00, 'ONLINE', 'R-1', '2099-01-02 03:04:05+01');
        insert into spa.payment_items (payment_item_id, payment_id, service_id, unit_price,
          total_price, service_duration) values (81, 61, 5, 80, 80, 60);
        commit";
    spa.tells(pay, &all).await;
    // Nobody is told of one that is pending, nor of what comes after.
    for (status, told) in [
        ("PENDING", &[][..]),
        ("PAID", &all),
        ("PAID", &[]),
        ("REFUNDED", &[]),
    ] {
        let sql =
            format!("update spa.payments set payment_status = '{status}' where payment_id = 61");
        spa.tells(&sql, told).await;
    }
    let pending = "insert into spa.payments (customer_id, total_amount, payment_status)
        values (1, 80.00, 'PENDING')";
    spa.tells(pending, &[]).await;
    spa.stage.close().await;
}

/// Whoever it was put down to by mistake hears of it no more, and whose it is does.
async fn a_payment_that_is_another_customers_is_told_to_them(version: Version) {
    let mut spa = Spa::open(version, "").await;
    let told = |customer: u32, people| -> Told<'_> {
        let mut payment = json!({ "paymentId": 61, "customerId": customer, "totalAmount": 80.0,
            "paymentMethod": "CASH", "paymentDate": "2099-01-02T03:04:05Z", "items": [] });
        if people == &["Rita"][..] || people == &["Max", "Ada"][..] {
            payment["customerName"] = if customer == 1 { "Ann" } else { "Ben" }.into();
        }
        ("PAYMENT_COMPLETED", "payments", people, payment)
    };
    let of_ben = [
        told(2, &["Ben"]),
        told(2, &["Rita"]),
        told(2, &["Max", "Ada"]),
    ];
    let at_once = "begin;
        insert into spa.payments (payment_id, customer_id, total_amount, payment_date)
          values (61, 1, 80.00, '2099-01-02 03:04:05Z');
        update spa.payments set customer_id = 2 where payment_id = 61; commit";
    spa.tells(at_once, &of_ben).await;
    let of_ann = [
        told(1, &["Ann"]),
        told(1, &["Rita"]),
        told(1, &["Max", "Ada"]),
    ];
    let later = "update spa.payments set customer_id = 1 where payment_id = 61";
    spa.tells(later, &of_ann).await;
    spa.stage.close().await;
}

async fn booking_created(version: Version) {
    let mut spa = Spa::open(version, "").await;
    let created = |viewer, people| -> Told<'_> {
        (
            "BOOKING_CREATED",
            "bookings",
            people,
            booking_as(viewer, json!({})),
        )
    };
    let mut told = vec![
        created("customer", &["Ann"]),
        created("therapist", &["Tess"]),
        created("receptionist", &["Rita"]),
        created("manager", &["Max", "Ada"]),
    ];
    told.extend(day_told(9, &hours(), |viewer| {
        json!([booking_as(viewer, json!({}))])
    }));
    told.push(free(5, 9, "09:00 11:00 15:30+90"));
    told.push(free(6, 9, FACIALS_BUT_AT_TEN));
    spa.tells(BOOKED, &told).await;
    spa.stage.close().await;
}

async fn booking_status_changed(version: Version) {
    let mut spa = Spa::open(version, BOOKED).await;
    let day = |status: &'static str| {
        day_told(9, &hours(), move |viewer| {
            json!([booking_as(viewer, json!({ "bookingStatus": status }))])
        })
    };
    let mut old = "SCHEDULED";
    for new in ["CONFIRMED", "IN_PROGRESS", "COMPLETED"] {
        let mut told = vec![status_changed(old, new)];
        told.extend(day(new));
        let sql = format!("update spa.bookings set booking_status = '{new}'");
        spa.tells(&sql, &told).await;
        spa.tells(&sql, &[]).await;
        old = new;
    }
    // Notes are part of the schedule, but not for reception; when they are written is nobody's.
    let noted = json!({ "bookingStatus": "COMPLETED", "bookingNotes": "Better" });
    let told = day_told(9, &hours(), |viewer| {
        json!([booking_as(viewer, noted.clone())])
    });
    spa.tells("update spa.bookings set booking_notes = 'Better'", &told)
        .await;
    spa.tells("update spa.bookings set created_at = now()", &[])
        .await;
    // What is finished may be tidied away.
    spa.tells("delete from spa.bookings", &[]).await;
    spa.stage.close().await;
}

async fn booking_cancelled(version: Version) {
    let mut spa = Spa::open(version, BOOKED).await;
    let mut gone = day_told(9, &hours(), |_| json!([]));
    gone.push(free(5, 9, "09:00 10:00 11:00 15:30+90"));
    gone.push(free(6, 9, ALL_FACIALS));
    let mut told = vec![status_changed("SCHEDULED", "CANCELLED")];
    told.extend(gone.clone());
    let cancel = "update spa.bookings set booking_status = 'CANCELLED'";
    spa.tells(cancel, &told).await;

    // One that is deleted before its time is cancelled, too; one that was is told no more.
    let again = BOOKED.replace("123", "124");
    spa.passes_over(&format!(
        "{again}; update spa.bookings set booking_status = 'CONFIRMED' where booking_id = 124"
    ))
    .await;
    let (name, channel, people, data) = status_changed("CONFIRMED", "CANCELLED");
    told[0] = (
        name,
        channel,
        people,
        with(data, json!({ "bookingId": 124 })),
    );
    spa.tells("delete from spa.bookings", &told).await;

    // Who does not come gives the time back, but remains in the schedule.
    let again = BOOKED.replace("'A bad back'", "null");
    spa.passes_over(&again).await;
    let missed = json!({ "bookingStatus": "NO_SHOW", "bookingNotes": null });
    let mut told = vec![status_changed("SCHEDULED", "NO_SHOW")];
    told.extend(day_told(9, &hours(), |viewer| {
        json!([booking_as(viewer, missed.clone())])
    }));
    told.extend(gone.split_off(3));
    let no_show = "update spa.bookings set booking_status = 'NO_SHOW'";
    spa.tells(no_show, &told).await;
    spa.stage.close().await;
}

async fn booking_rescheduled(version: Version) {
    let mut spa = Spa::open(version, BOOKED).await;
    let moved =
        json!({ "therapistId": 10, "therapistName": "Theo", "appointmentTime": "11:00:00" });
    let told = |viewer, people| -> Told<'_> {
        (
            "BOOKING_RESCHEDULED",
            "bookings",
            people,
            booking_as(viewer, moved.clone()),
        )
    };
    let mut all = vec![
        told("customer", &["Ann"]),
        told("therapist", &["Theo"]),
        told("receptionist", &["Rita"]),
        told("manager", &["Max", "Ada"]),
    ];
    // Both days, the old therapist's and the new one's.
    all.extend(day_told(9, &hours(), |_| json!([])));
    all.push(free(5, 9, "09:00 10:00 11:00 15:30+90"));
    all.push(free(6, 9, ALL_FACIALS));
    all.extend(day_told(10, &morning(), |viewer| {
        json!([booking_as(viewer, moved.clone())])
    }));
    all.push(free(5, 10, "09:00 10:00"));
    let move_it = "update spa.bookings set therapist_user_id = 10, appointment_time = '11:00'";
    spa.tells(move_it, &all).await;
    spa.stage.close().await;
}

async fn therapist_schedule_updated(version: Version) {
    let mut spa = Spa::open(version, BOOKED).await;
    let bookings = |viewer: &str| json!([booking_as(viewer, json!({}))]);
    // Tess leaves at half past eleven: what is left at eleven is enough for a facial.
    let shorter = json!([{ "scheduleId": 1, "startTime": "09:00:00", "endTime": "11:30:00" },
        { "scheduleId": 2, "startTime": "15:30:00", "endTime": "17:00:00" }]);
    let mut told = day_told(9, &shorter, bookings);
    told.push(free(5, 9, "09:00 15:30+90"));
    told.push(free(6, 9, "09:00 09:30 11:00 15:30 16:00 16:30"));
    let leave = "update spa.therapist_schedules set end_time = '11:30' where schedule_id = 1";
    spa.tells(leave, &told).await;
    spa.tells(leave, &[]).await;
    // The afternoon is off; a row for each part of the day, one event for the day.
    let mut told = day_told(9, &json!([shorter[0]]), bookings);
    told.push(free(5, 9, "09:00"));
    told.push(free(6, 9, "09:00 09:30 11:00"));
    let off = "delete from spa.therapist_schedules where schedule_id = 2";
    spa.tells(off, &told).await;
    // Theo stands in for all of it: his afternoon begins where hers did.
    let whole = json!([morning()[0],
        { "scheduleId": 4, "startTime": "12:00:00", "endTime": "13:00:00" },
        { "scheduleId": 5, "startTime": "15:30:00", "endTime": "17:00:00" }]);
    let mut told = day_told(10, &whole, |_| json!([]));
    told.push(free(5, 10, "09:00 10:00 11:00 12:00 15:30+90"));
    let stand_in = "insert into spa.therapist_schedules
        (schedule_id, therapist_user_id, work_date, start_time, end_time) values
        (4, 10, '2099-01-15', '12:00', '13:00'), (5, 10, '2099-01-15', '15:30', '17:00')";
    spa.tells(stand_in, &told).await;
    spa.stage.close().await;
}

/// Services and who offers them change what is free, on the days that are yet to come.
async fn availability_of_services(version: Version) {
    let past = "insert into spa.therapist_schedules
        (schedule_id, therapist_user_id, work_date, start_time, end_time) values
        (8, 9, '2020-01-15', '09:00', '12:00'), (9, 10, '2020-01-15', '09:00', '12:00')";
    let mut spa = Spa::open(version, past).await;
    let longer = "update spa.services set duration_minutes = 90 where service_id = 5";
    let told = [
        free(5, 9, "09:00+90 10:30+90 15:30+90"),
        free(5, 10, "09:00+90 10:30+90"),
    ];
    spa.tells(longer, &told).await;
    let gone = "update spa.services set is_active = false where service_id = 6";
    spa.tells(gone, &[free(6, 9, "")]).await;
    spa.tells(
        "update spa.services set is_active = true where service_id = 6",
        &[free(6, 9, ALL_FACIALS)],
    )
    .await;
    spa.tells(
        "update spa.services set price = 50 where service_id = 6",
        &[],
    )
    .await;
    spa.tells(
        "insert into spa.therapist_services values (10, 6)",
        &[free(6, 10, "09:00 09:30 10:00 10:30 11:00 11:30")],
    )
    .await;
    let not_hers =
        "delete from spa.therapist_services where therapist_user_id = 9 and service_id = 6";
    spa.tells(not_hers, &[free(6, 9, "")]).await;
    let given = "update spa.therapist_services set therapist_user_id = 9
        where therapist_user_id = 10 and service_id = 6";
    let told = [free(6, 9, ALL_FACIALS), free(6, 10, "")];
    spa.tells(given, &told).await;
    let nothing = "update spa.therapist_services set service_id = service_id";
    spa.tells(nothing, &[]).await;
    // A minute that is not whole is not free.
    spa.passes_over(
        "insert into spa.therapist_schedules
           (schedule_id, therapist_user_id, work_date, start_time, end_time)
         values (7, 9, '2099-02-01', '09:00:30', '10:00:00')",
    )
    .await;
    let lasts =
        "select spa_push.availability(6, 9, '2099-02-01') #>> '{availableSlots,0,duration}'";
    assert_eq!(spa.stage.database.ask::<String>(lasts).await, "59");
    let data = json!({ "table": "spa.therapist_services" });
    let everybody = PEOPLE.map(|(name, ..)| name);
    let reset = ("reset", "availability", &everybody[..], data);
    spa.tells("truncate spa.therapist_services", &[reset]).await;
    spa.stage.close().await;
}

on_every_version! {
    payment_completed
    a_payment_that_is_another_customers_is_told_to_them
    booking_created
    booking_status_changed
    booking_cancelled
    booking_rescheduled
    therapist_schedule_updated
    availability_of_services
}
