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
        // Where the paper prints a number, that number is no "fail".
        let limit = full.config.fail_above.unwrap_or(100.0);
        assert!(experiment.variants.iter().filter_map(|v| v.published.error).all(|error| error < limit), "{name}");
    }
}

/// Every network of every scale can be made.
#[test]
fn every_variant_is_a_network() {
    let mut made = std::collections::HashSet::new();
    for name in Experiment::names() {
        for scale in [Scale::Full, Scale::Cpu, Scale::Smoke] {
            for PlannedVariant { recipe, .. } in Experiment::load(name).unwrap().plan(scale).unwrap().variants {
                if !made.insert(format!("{} {:?}", recipe.arch, recipe.network)) {
                    continue;
                }
                let config = resnet_models::config(&recipe.arch).unwrap().with_changes(&recipe.network).unwrap();
                let parameters = resnet_models::Parameters::zeros(candle_core::DType::F32, &candle_core::Device::Cpu);
                let network = resnet_models::Network::new(&config, parameters.builder());
                assert!(!network.unwrap().blocks().is_empty(), "{name}: {}", recipe.arch);
            }
        }
    }
    assert!(made.len() > 40, "{}", made.len());
}

/// He et al. 2015, Tables 2, 3 and 6; He et al. 2016, Tables 1 to 3.
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
    assert_eq!(errors("architectures"), [25.03, 24.52, 24.19, 22.85, 21.75, 21.43].map(Some));
    let top5 = |name: &str| -> Vec<Option<f64>> {
        Experiment::load(name).unwrap().variants.iter().map(|v| v.published.top5).collect()
    };
    assert_eq!(top5("architectures"), [7.76, 7.46, 7.40, 6.71, 6.05, 5.71].map(Some));
    assert_eq!(top5("plain-vs-residual-imagenet"), [None, Some(10.02), None, Some(7.76)]);
    let failed = |name: &str| -> Vec<String> {
        let variants = Experiment::load(name).unwrap().variants;
        variants.into_iter().filter(|v| v.published.fail).map(|v| v.name).collect()
    };
    let fail = ["constant scaling (0, 1)", "constant scaling (0.5, 1)", "exclusive gating, bias -5", "dropout 0.5"];
    assert_eq!(failed("shortcuts"), fail);
    assert!(Experiment::names().into_iter().filter(|name| *name != "shortcuts").all(|name| failed(name).is_empty()));
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
    let one = plan.only(&["resnet-20".into()]).unwrap();
    assert_eq!((one.variants.len(), one.others.len()), (1, 3));
    let rows: Vec<(&str, bool)> = one.rows().iter().map(|(v, run)| (v.variant.name.as_str(), *run)).collect();
    assert_eq!(rows, [("plain-20", false), ("plain-56", false), ("resnet-20", true), ("resnet-56", false)]);
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
        recipe: recipe.clone(),
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
    // The limit is the published length's.
    let shortcuts = Experiment::load("shortcuts").unwrap();
    let limit = |scale| shortcuts.plan(scale).unwrap().config.fail_above;
    assert_eq!([Scale::Full, Scale::Cpu, Scale::Smoke].map(limit), [Some(20.0), None, None]);
}

#[test]
fn the_top_5_error_is_shown_where_the_paper_has_it() {
    let mut v = result("a", "", &[25.0]);
    v.variant.published = Published { error: Some(25.03), top5: Some(7.76), ..Published::default() };
    assert_eq!(v.test_cell(None), "25.00 / 0.00");
}

#[test]
fn a_network_in_place_of_another_is_named() {
    let mut v = result("original, 110", "ResNet-110", &[1.0]);
    assert_eq!(v.label(), "original, 110");
    v.recipe.arch = "resnet20".into();
    assert_eq!(v.label(), "original, 110 [resnet20]");
    let charts = charts(&[v]);
    assert_eq!(
        (charts[0].title.as_str(), charts[0].series[1].name.as_str()),
        ("ResNet-110 [resnet20]", "original, 110 [resnet20]")
    );
}

/// Where lines end close together, the second half is drawn in a range of its own.
#[test]
fn the_second_half_of_a_long_training_has_a_chart() {
    let mut v = result("a", "plain", &[1.0]);
    v.curve = (1..=10).map(|epoch| (epoch, 80.0 / epoch as f64, Some(90.0 / epoch as f64))).collect();
    let charts = charts(&[v]);
    assert_eq!(charts.iter().map(|c| c.title.as_str()).collect::<Vec<_>>(), ["plain", "plain, second half"]);
    let steps: Vec<f64> = charts[1].series[0].points.iter().map(|p| p.0).collect();
    assert_eq!((steps, charts[1].y_range), (vec![6.0, 7.0, 8.0, 9.0, 10.0], None));
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
