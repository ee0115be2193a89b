//! What `--help` says is what the program does.

mod common;

use common::{assert_refused, resnet, succeed};
use resnet_train::optimizer::OptimizerConfig;
use resnet_train::recipe::{ClassWeights, Recipe};

/// The part of a command's help that is about one flag.
fn of_flag(help: &str, flag: &str) -> String {
    let begin = help.find(&format!("      {flag} ")).unwrap_or_else(|| panic!("no {flag} in {help}"));
    let lines = help[begin..].lines();
    let own = lines.take(1).chain(help[begin..].lines().skip(1).take_while(|line| !line.trim_start().starts_with('-')));
    own.collect::<Vec<_>>().join(" ")
}

#[test]
fn finetune_tells_the_defaults_that_it_has() {
    let help = succeed(&["finetune", "--help"]);
    let recipe = Recipe::load("finetune").unwrap();
    let [head, all] = recipe.phases[..] else { panic!("two phases") };
    let OptimizerConfig::Sgd(optimizer) = recipe.optimizer else { panic!("SGD") };
    assert_eq!(recipe.loss.class_weights, ClassWeights::Balanced, "--no-balance is the other one");
    for (flag, value) in [
        ("--head-epochs", head.epochs.to_string()),
        ("--epochs", all.epochs.to_string()),
        ("--batch-size", recipe.batch_size.to_string()),
        ("--head-lr", head.lr.unwrap().to_string()),
        ("--lr", recipe.schedule.lr().to_string()),
        ("--stage-decay", all.stage_decay.to_string()),
        ("--weight-decay", optimizer.weight_decay.to_string()),
        ("--label-smoothing", recipe.loss.label_smoothing.to_string()),
        ("--patience", recipe.patience.unwrap().to_string()),
        ("--seed", recipe.seed.to_string()),
    ] {
        let told = of_flag(&help, flag);
        assert!(told.contains(&format!("[default: {value}]")), "{told}");
    }
}

#[test]
fn shared_flags_say_what_they_are_for_in_each_command() {
    let told = |command: &str, flag: &str| of_flag(&succeed(&[command, "--help"]), flag);
    assert!(told("eval", "--dataset").contains("the one the weights name"));
    assert!(told("predict", "--dataset").contains("class names"));
    assert!(!succeed(&["embed", "--help"]).contains("--dataset"));
    for (command, default) in [("train", "the recipe's"), ("bench", "f32"), ("eval", "f32"), ("embed", "f32")] {
        let told = told(command, "--dtype");
        assert!(told.contains(&format!("Data type of activations [default: {default}]")), "{command}: {told}");
    }
}

#[test]
fn a_recipe_is_printed_to_be_changed() {
    for name in Recipe::names() {
        let text = succeed(&["list", "--recipe", name]);
        assert_eq!(Recipe::parse(&text, name).unwrap(), Recipe::load(name).unwrap());
    }
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("mine.toml");
    std::fs::write(&file, succeed(&["list", "--recipe", "quick"]).replace("epochs = 8", "epochs = 9")).unwrap();
    assert!(succeed(&["list", "--recipe", common::text(&file)]).contains("epochs = 9"));
    assert_eq!(common::json(&["list", "--recipe", "quick"])[0]["arch"], "resnet20");
    assert_refused(&resnet(&["list", "--recipe", "quik"]), &["quik", "quick"]);
}
