//! Rules that no single stream can keep: `cargo run -p eventfold-db --example course_enrolment`.
//!
//! A course has two places, and a student takes three courses at the most. A decision reads what both rules are about with
//! one query, and is appended under the condition that nothing has matched that query since. Who loses a race decides anew.

use eventfold_db::{Append, Error, EventfoldDb, ExpectedVersion, ProposedEvent, Query, QueryItem};

const PLACES: usize = 2;
const COURSES_MAX: usize = 3;

/// The events that a decision about this student and this course is based on.
fn relevant(student: &str, course: &str) -> Query {
    let enrolled = || QueryItem::new().types(["Enrolled"]);
    Query::item(enrolled().tags([format!("student:{student}")])).or(enrolled().tags([format!("course:{course}")]))
}

fn enrol(db: &EventfoldDb, student: &str, course: &str) -> Result<Result<(), &'static str>, Error> {
    let (student_tag, course_tag) = (format!("student:{student}"), format!("course:{course}"));
    loop {
        let events = db.reads().query(relevant(student, course), 0, u64::MAX)?;
        let with =
            |tag: &str| events.iter().filter(|event| event.tags.iter().any(|other| other.as_str() == tag)).count();
        if events
            .iter()
            .any(|event| [&student_tag, &course_tag].iter().all(|tag| event.tags.iter().any(|t| t.as_str() == *tag)))
        {
            return Ok(Err("is enrolled already"));
        }
        if with(&course_tag) >= PLACES {
            return Ok(Err("finds the course full"));
        }
        if with(&student_tag) >= COURSES_MAX {
            return Ok(Err("has courses enough"));
        }
        let enrolled = ProposedEvent::new("Enrolled", "{}").with_tags([&*student_tag, &*course_tag]);
        let append = Append::new()
            .no_match(relevant(student, course), events.last().map(|last| last.global_position))
            .expect(&*course_tag, ExpectedVersion::Any)
            .events(&*course_tag, vec![enrolled]);
        match db.append_request_blocking(append) {
            Ok(_) => return Ok(Ok(())),
            Err(Error::QueryMatched { position, .. }) => {
                println!("  the event at {position} came first: deciding again");
            }
            Err(other) => return Err(other),
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "students who enrol at once are what this is about")]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    let directory = tempfile::tempdir()?;
    let db = EventfoldDb::open(directory.path())?;
    // Five students want the same two places at once.
    std::thread::scope(|scope| {
        for student in ["ann", "bob", "cid", "dee", "eve"] {
            let db = &db;
            scope.spawn(move || match enrol(db, student, "rust") {
                Ok(Ok(())) => println!("{student} is enrolled"),
                Ok(Err(why)) => println!("{student} {why}"),
                Err(error) => println!("{student}: {error}"),
            });
        }
    });
    let enrolled = db.reads().query(QueryItem::new().tags(["course:rust"]), 0, u64::MAX)?;
    assert_eq!(enrolled.len(), PLACES);

    for course in ["go", "zig", "ada", "cobol"] {
        println!("zoe and {course}: {:?}", enrol(&db, "zoe", course)?);
    }
    let courses = db.reads().query(QueryItem::new().tags(["student:zoe"]), 0, u64::MAX)?;
    assert_eq!(courses.len(), COURSES_MAX);
    db.close_blocking()?;
    Ok(())
}
