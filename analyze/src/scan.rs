//! Work units of inputs, and the workers that read them.
