//! A report of every part, and the ways its data can be wrong.

use super::*;

fn sample() -> Report {
    let epochs = |f: fn(f64) -> f64| (1..=12).map(|e| (f64::from(e), f(f64::from(e)))).collect();
    let classes: Vec<String> =
        ["circle", "square", "triangle", "star", "<ring>", "cross", "arrow", "heart", "moon", "hexagon"]
            .map(String::from)
            .into();
    let mut confusion = Confusion::new(classes);
    for truth in 0..10 {
        (0..95).for_each(|_| confusion.add(truth, truth));
        (0..4).for_each(|_| confusion.add(truth, (truth * 3 + 1) % 10));
        confusion.add(truth, (truth + 5) % 10);
    }
    let picture = |index: usize| WorstError {
        index,
        height: 32,
        width: 32,
        pixels: (0..32 * 32 * 3).map(|i| ((i * (index + 3)) % 251) as u8).collect(),
        truth: "triangle".into(),
        predicted: "star".into(),
        truth_probability: 0.0004,
        predicted_probability: 0.991,
    };
    Report {
        title: "resnet8 on shapes".into(),
        subtitle: "resnet train".into(),
        headline: vec![
            ("Test accuracy".into(), "95.0 %".into()),
            ("Test loss".into(), "0.142".into()),
            ("Parameters".into(), "78,042".into()),
        ],
        heat: Vec::new(),
        tables: vec![Table {
            title: "Errors".into(),
            note: "a < b".into(),
            columns: vec!["variant".into(), "ours".into()],
            rows: vec![vec!["plain-20".into(), "9.1".into()]],
        }],
        charts: vec![
            Chart {
                title: "Loss".into(),
                x_label: "epoch".into(),
                y_label: "cross-entropy".into(),
                scale: Scale::Linear,
                y_range: None,
                series: vec![
                    Series { name: "train".into(), points: epochs(|e| 2.3 / e), ..Series::default() },
                    Series { name: "test".into(), points: epochs(|e| 2.1 / e + 0.1), ..Series::default() },
                ],
            },
            Chart {
                title: "Accuracy".into(),
                x_label: "epoch".into(),
                y_label: "top-1, %".into(),
                scale: Scale::Linear,
                y_range: None,
                series: vec![
                    Series { name: "train".into(), points: epochs(|e| 100.0 - 60.0 / e), ..Series::default() },
                    Series { name: "test".into(), points: epochs(|e| 96.0 - 61.0 / e), ..Series::default() },
                ],
            },
            Chart {
                title: "Learning rate".into(),
                x_label: "step".into(),
                y_label: "learning rate".into(),
                scale: Scale::Log,
                y_range: None,
                series: vec![Series {
                    name: "lr".into(),
                    points: (0..64_000).map(|s| (f64::from(s), 0.1 * 0.1f64.powi(s / 22_000))).collect(),
                    ..Series::default()
                }],
            },
        ],
        confusion: Some(confusion),
        worst_errors: (0..11).map(picture).collect(),
        configuration: vec![
            ("arch".into(), "resnet8".into()),
            ("optimizer".into(), "sgd lr=0.1 momentum=0.9 weight_decay=1e-4".into()),
            ("seed".into(), "0".into()),
        ],
    }
}

#[test]
fn the_page_is_whole_and_needs_nothing_from_outside() {
    let page = sample().render().unwrap();
    for part in ["Curves", "Confusion matrix", "Worst errors", "Configuration", "95.0 %", "data:image/png;base64,"] {
        assert!(page.contains(part), "{part} is missing");
    }
    for outside in ["http://", "https://", "<script", "src=\"/"] {
        assert!(!page.contains(outside), "{outside} points outside");
    }
    assert_eq!(page.matches("<svg").count(), 4);
    assert_eq!(page.matches("<svg").count(), page.matches("</svg>").count());
    assert!(!page.contains("NaN") && !page.contains("inf"));
    assert!(page.contains("&lt;ring&gt;") && !page.contains("<ring>"), "class names are escaped");
    // 64,000 steps are drawn as a few hundred points.
    assert!(page.len() < 200_000, "{} bytes", page.len());
}

#[test]
fn equal_data_give_equal_bytes() {
    assert_eq!(sample().render().unwrap(), sample().render().unwrap());
}

#[test]
fn empty_parts_are_left_out() {
    let page = Report { title: "t".into(), ..Report::default() }.render().unwrap();
    assert!(!page.contains("<h2>"));
}

#[test]
fn points_that_are_not_finite_do_not_spoil_a_chart() {
    let series = Series {
        name: "train".into(),
        points: vec![(1.0, 2.0), (2.0, f64::NAN), (3.0, f64::INFINITY)],
        ..Series::default()
    };
    let chart = Chart { title: "Loss".into(), series: vec![series], ..Chart::default() };
    let page = Report { charts: vec![chart, Chart::default()], ..Report::default() }.render().unwrap();
    assert!(!page.contains("NaN") && !page.contains("inf"));
    assert!(page.contains("no points"));
}

#[test]
fn keys_of_a_chart_stay_inside_it() {
    let line = |i: usize| Series {
        name: format!("a network of {i} layers"),
        points: vec![(0.0, 1.0), (1.0, i as f64)],
        ..Series::default()
    };
    let chart = |n: usize| Chart { title: "Error".into(), series: (1..=n).map(line).collect(), ..Chart::default() };
    for (n, height) in [(1, 300), (2, 300), (5, 354), (12, 408)] {
        let svg = chart(n).svg();
        assert!(svg.contains(&format!("viewBox=\"0 0 560 {height}\"")), "{n}: {}", &svg[..200]);
        assert_eq!(svg.matches("class=\"key\"").count(), if n < 2 { 0 } else { n });
        for x in svg.split("class=\"key\" x=\"").skip(1) {
            let x: f64 = x.split('"').next().unwrap().parse().unwrap();
            assert!((58.0..440.0).contains(&x), "{x}");
        }
    }
}

#[test]
fn lines_share_colours_and_differ_in_weight() {
    let line = |stroke| Series { name: "x".into(), points: vec![(0.0, 1.0)], stroke, colour: Some(3) };
    let svg = Chart { series: vec![line(Stroke::Thin), line(Stroke::Bold)], ..Chart::default() }.svg();
    assert!(svg.contains("class=\"line c3 thin\"") && svg.contains("class=\"line c3 bold\""), "{svg}");
}

#[test]
fn many_classes_are_still_a_page() {
    for classes in [1, 15, 100, 1000] {
        let mut confusion = Confusion::new((0..classes).map(|i| format!("class {i}")).collect());
        for truth in 0..classes {
            confusion.add(truth, truth / 2);
        }
        let page = Report { confusion: Some(confusion), ..Report::default() }.render().unwrap();
        assert_eq!(page.contains("<svg"), classes <= 200);
    }
}

#[test]
fn wrong_sizes_are_named() {
    let confusion = Confusion { classes: vec!["a".into(), "b".into()], counts: vec![1; 3] };
    let error = Report { confusion: Some(confusion), ..Report::default() }.render().unwrap_err();
    assert_eq!(error.to_string(), "confusion matrix of 2 classes needs 4 counts, but has 3");
    let picture = WorstError { index: 7, height: 2, width: 2, pixels: vec![0; 11], ..WorstError::default() };
    let error = Report { worst_errors: vec![picture], ..Report::default() }.render().unwrap_err();
    assert_eq!(error.to_string(), "picture of image 7: 2x2 RGB needs 12 bytes, but has 11");
}

#[test]
fn writing_leaves_the_page_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("report.html");
    sample().write(&path).unwrap();
    assert_eq!(std::fs::read_to_string(&path).unwrap(), sample().render().unwrap());
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    let nowhere = folder.path().join("missing").join("report.html");
    let error = sample().write(&nowhere).unwrap_err();
    assert!(error.to_string().contains("missing"), "{error}");
}
