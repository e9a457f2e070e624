//! Fits a line with Adam of Lockstep: usage: cargo run.
mod lockstep;

/// The slope of the mean square of w·x + b - y.
fn gradients(w: f32, b: f32) -> (f32, f32) {
    let points = (0..100).map(|k| (k as f32 / 50.0 - 1.0, 3.0 * (k as f32 / 50.0 - 1.0) - 0.5));
    points.fold((0.0, 0.0), |(dw, db), (x, y)| {
        let error = w * x + b - y;
        (dw + error * x / 50.0, db + error / 50.0)
    })
}

fn main() -> Result<(), String> {
    let (mut w, mut b) = (vec![0f32], vec![0f32]);
    let mut o = lockstep::Optimizer::new("torch", "Adam", 0.1, &[("w", 1), ("b", 1)])?;
    for step in 0..500 {
        let (dw, db) = gradients(w[0], b[0]);
        o.set_lr(0.1 * (1.0 - step as f64 / 500.0))?;
        o.step(&mut [&mut w, &mut b], &[Some(&[dw]), Some(&[db])])?;
    }
    println!("w = {}, b = {}, m = {:?}", w[0], b[0], o.state(0, "m").unwrap());
    assert!((w[0] - 3.0).abs() < 0.01 && (b[0] + 0.5).abs() < 0.01, "the line is not found");
    let refused = o.set_lr(-1.0).unwrap_err();
    println!("refused: {refused}");
    assert!(refused.starts_with("lr is -1, want"));
    assert!(o.step(&mut [&mut w], &[None]).is_err() && lockstep::Optimizer::new("torch", "Adamant", 1.0, &[]).is_err());
    Ok(())
}
