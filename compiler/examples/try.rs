fn main() {
    for path in std::env::args().skip(1) {
        let text = std::fs::read_to_string(&path).unwrap();
        let start = std::time::Instant::now();
        let c = lmv_compiler::compile(&path, &text, &[]);
        for d in &c.diagnostics {
            println!("{}", d.render(&c.sources, false));
        }
        println!("{path}: {} errors, ok={} in {:?}", c.diagnostics.len(), c.experiment.is_some(), start.elapsed());
        if let Some(e) = &c.experiment {
            for p in &e.graph.parameters {
                if p.path.contains("blocks.0") || !p.path.contains("blocks") {
                    println!("  {} {} {:?}", p.path, p.shape, p.frozen);
                }
            }
            println!("{:?} {:?}", e.graph.parameter_counts(), e.graph.taps.iter().map(|t| &t.name).collect::<Vec<_>>());
        }
    }
}
