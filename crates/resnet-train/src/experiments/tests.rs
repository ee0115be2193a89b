use super::page::charts;
use super::*;

/// Every file says what it should, and names networks, recipes and variants that there are.
#[test]
fn every_experiment_has_every_scale() {
    for name in Experiment::names() {
        let experiment = Experiment::load(name).unwrap();
        assert!(!experiment.about.is_empty() && experiment.source.contains("He et al."), "{name}");
        for scale in [Scale::Full, Scale::Cpu, Scale::Smoke] {
            let plan = experiment.plan(scale).unwrap();
            let named = experiment.scale[&scale].variants.len();
            assert!(named == 0 || named == plan.variants.len(), "{name} {scale}: a variant's name is wrong");
            let mut names: Vec<&str> = plan.variants.iter().map(|v| v.variant.name.as_str()).collect();
            names.sort_unstable();
            names.dedup();
            assert_eq!(names.len(), plan.variants.len(), "{name} {scale}: a name is there twice");
            for old in experiment.scale[&scale].replace.keys() {
                assert!(experiment.variants.iter().any(|v| v.arch == *old), "{name} {scale}: {old} replaces nothing");
            }
        }
        let full = experiment.plan(Scale::Full).unwrap();
        assert_eq!(full.variants.len(), experiment.variants.len(), "{name}: the full scale is the whole table");
        let published = |v: &Variant| v.published.error.is_some() || v.published.fail || name == "degradation";
        assert!(experiment.variants.iter().all(published), "{name}");
    }
}

/// He et al. 2015, Table 6; He et al. 2016, Tables 1 to 3.
#[test]
fn published_values_are_those_of_the_papers() {
    let errors = |name: &str| -> Vec<Option<f64>> {
        Experiment::load(name).unwrap().variants.iter().map(|v| v.published.error).collect()
    };
    assert_eq!(errors("cifar-table6"), [8.75, 7.51, 7.17, 6.97, 6.43, 7.93].map(Some));
    let shortcuts: Vec<f64> = errors("shortcuts").into_iter().flatten().collect();
    assert_eq!(shortcuts, [6.61, 12.35, 8.70, 9.81, 12.86, 6.91, 12.22]);
    assert_eq!(errors("activations"), [6.61, 8.17, 7.84, 6.71, 6.37, 5.93, 6.50, 6.14, 5.91, 5.46].map(Some));
    assert_eq!(
        errors("preact-depth"),
        [9.90, 8.91, 6.61, 6.37, 5.93, 5.46, 7.61, 4.92, 25.16, 24.33, 27.82, 22.71].map(Some)
    );
    assert_eq!(errors("plain-vs-residual-imagenet"), [27.94, 28.54, 27.88, 25.03].map(Some));
    let table6 = Experiment::load("cifar-table6").unwrap();
    assert_eq!(table6.variants[4].published.to_string(), "6.43 (best of 5; mean 6.61 ± 0.16), Table 6");
    assert_eq!(Experiment::load("shortcuts").unwrap().variants[1].published.to_string(), "fail, Table 1");
}

#[test]
fn names_that_are_not_there_are_refused() {
    let message = Experiment::load("degredation").unwrap_err().to_string();
    assert!(message.contains("did you mean degradation?"), "{message}");
    let plan = Experiment::load("degradation").unwrap().plan(Scale::Cpu).unwrap();
    let message = plan.clone().only(&["plain-21".into()]).unwrap_err().to_string();
    assert!(message.contains("plain-21") && message.contains("resnet-56"), "{message}");
    assert_eq!(plan.only(&["plain-20".into()]).unwrap().variants.len(), 1);
}

fn result(name: &str, group: &str, errors: &[f64]) -> VariantResult {
    let experiment = Experiment::load("degradation").unwrap();
    let recipe = experiment.plan(Scale::Smoke).unwrap().variants[0].recipe.clone();
    let run = |(seed, &error): (usize, &f64)| RunResult {
        seed: seed as u64,
        test_error: error,
        test_top5_error: 0.0,
        best_error: error,
        train_error: 1.0,
        train_loss: 0.1,
        epochs: 1,
        seconds: 60.0,
        parameters: 1,
        diverged: None,
        revision: String::new(),
        recipe: recipe.clone(),
    };
    VariantResult {
        variant: Variant { name: name.into(), group: group.into(), ..experiment.variants[0].clone() },
        arch: "plain20".into(),
        runs: errors.iter().enumerate().map(run).collect(),
        curve: vec![(10, 60.0, Some(70.0)), (20, 30.0, None), (30, 20.0, Some(25.0))],
    }
}

#[test]
fn the_median_is_reported_with_the_spread() {
    assert_eq!(result("a", "", &[7.0, 5.0, 6.5]).cell(|r| r.test_error), "6.50 (5.00 to 7.00)");
    assert_eq!(result("a", "", &[7.0, 6.0]).cell(|r| r.test_error), "6.50 (6.00 to 7.00)");
    assert_eq!(result("a", "", &[7.0]).cell(|r| r.test_error), "7.00");
    assert_eq!(result("a", "", &[]).cell(|r| r.test_error), "-");
}

/// He et al. 2016, Table 1: "fail" is a test error above 20 %, of the median of the runs.
#[test]
fn fail_is_what_the_paper_calls_so() {
    assert_eq!(result("a", "", &[20.0]).test_cell(Some(20.0)), "20.00");
    assert_eq!(result("a", "", &[20.01]).test_cell(Some(20.0)), "fail (20.01)");
    assert_eq!(result("a", "", &[20.01]).test_cell(None), "20.01");
    assert_eq!(result("a", "", &[8.0, 30.0, 9.0]).test_cell(Some(20.0)), "9.00 (8.00 to 30.00)");
    let mut diverged = result("a", "", &[100.0]);
    diverged.runs[0].diverged = Some("the loss is NaN".into());
    assert_eq!(diverged.test_cell(None), "fail (100.00; 1 of 1 diverged)");
    assert!(!result("a", "", &[]).fails(Some(20.0)));
}

#[test]
fn curves_are_thin_and_bold_in_one_range() {
    let all = [result("a", "plain", &[1.0]), result("b", "residual", &[1.0]), result("c", "plain", &[1.0])];
    let charts = charts(&all);
    assert_eq!(charts.iter().map(|c| c.title.as_str()).collect::<Vec<_>>(), ["plain", "residual", "All"]);
    for chart in &charts {
        assert_eq!(chart.y_range, Some((20.0, 70.0)));
        let svg = chart.svg();
        assert_eq!(svg.matches("<polyline class=\"line c0 thin\"").count(), 1, "{svg}");
        assert_eq!(svg.matches("<polyline class=\"line c0 bold\"").count(), 1);
        assert!(svg.contains(">80</text>") && svg.contains(">0</text>"), "{svg}");
    }
    assert_eq!(charts[0].series.len(), 4);
}

/// He et al. 2016, Fig. 3: each variant beside the original.
#[test]
fn the_baseline_is_drawn_with_every_group() {
    let all = [result("original", "", &[1.0]), result("scaled", "scaling", &[1.0]), result("gated", "gating", &[1.0])];
    let charts = charts(&all);
    assert_eq!(charts.iter().map(|c| c.title.as_str()).collect::<Vec<_>>(), ["scaling", "gating", "All"]);
    for chart in &charts[..2] {
        let names: Vec<&str> = chart.series.iter().map(|s| s.name.as_str()).collect();
        assert_eq!(names, ["", "original", "", if chart.title == "scaling" { "scaled" } else { "gated" }]);
    }
}
