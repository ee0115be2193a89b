/// The autocorrelation of a series by lag, from 0 to `lags`: Σ (g_t - ḡ)(g_{t+k} - ḡ) / Σ (g_t - ḡ)².
///
/// White noise has 0 at every lag above 0, up to chance; a series without any variation has 0 everywhere.
///
/// ```
/// use resnet_lab::diagnose::autocorrelation;
/// let r = autocorrelation(&[1.0, -1.0, 1.0, -1.0], 2);
/// assert_eq!(r, [1.0, -0.75, 0.5]);
/// ```
pub fn autocorrelation(series: &[f64], lags: usize) -> Vec<f64> {
    let mean = series.iter().sum::<f64>() / series.len().max(1) as f64;
    let centred: Vec<f64> = series.iter().map(|g| g - mean).collect();
    let at = |lag: usize| -> f64 { centred.iter().zip(centred.iter().skip(lag)).map(|(a, b)| a * b).sum() };
    let variance = at(0);
    (0..=lags).map(|lag| if variance > 0.0 { at(lag) / variance } else { 0.0 }).collect()
}
