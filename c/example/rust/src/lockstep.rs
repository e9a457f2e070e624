//! A part of lockstep.h, and an optimizer that borrows its parameters for each step.
use std::ffi::{CStr, CString};
use std::os::raw::{c_char, c_int, c_void};
use std::ptr::null_mut;

mod c {
    use super::*;

    #[repr(C)]
    pub struct Error {
        pub status: c_int,
        pub message: [c_char; 236],
    }

    #[repr(C)]
    pub struct Group {
        pub rule: *const c_char,
        pub options: *const c_void,
        pub size: usize,
    }

    #[repr(C)]
    pub struct Tensor {
        pub name: *const c_char,
        pub size: usize,
        pub group: usize,
        pub state: *const *mut f32,
        pub columns: usize,
        pub types: *const c_int,
    }

    /// How a rule begins.
    #[repr(C)]
    pub struct Rule {
        pub name: *const c_char,
        pub size: usize,
    }

    pub enum Optimizer {}
    pub enum Pool {}

    extern "C" {
        pub fn lockstep_preset(framework: *const c_char, name: *const c_char, options: *mut c_void, size: usize, rule: *mut *const Rule) -> c_int;
        pub fn lockstep_optimizer_new(groups: *const Group, group_count: usize, tensors: *const Tensor, tensor_count: usize, o: *mut *mut Optimizer, error: *mut Error) -> c_int;
        pub fn lockstep_optimizer_free(o: *mut Optimizer);
        pub fn lockstep_optimizer_step(o: *mut Optimizer, params: *const *mut f32, grads: *const *const f32, pool: *mut Pool, error: *mut Error) -> c_int;
        pub fn lockstep_optimizer_set_lr(o: *mut Optimizer, group: usize, lr: f64, error: *mut Error) -> c_int;
        pub fn lockstep_optimizer_state(o: *const Optimizer, tensor: usize, slot: *const c_char) -> *const f32;
    }
}

fn checked(call: impl FnOnce(&mut c::Error) -> c_int) -> Result<(), String> {
    let mut error = c::Error { status: 0, message: [0; 236] };
    match call(&mut error) {
        0 => Ok(()),
        _ => Err(unsafe { CStr::from_ptr(error.message.as_ptr()) }.to_string_lossy().into_owned()),
    }
}

/// An optimizer of named tensors.
pub struct Optimizer {
    o: *mut c::Optimizer,
    sizes: Vec<usize>,
}

// It has no ties to the thread that made it.
unsafe impl Send for Optimizer {}

impl Optimizer {
    /// Makes one of a framework's preset with a learning rate.
    pub fn new(framework: &str, preset: &str, lr: f64, tensors: &[(&str, usize)]) -> Result<Self, String> {
        let text = |s: &str| CString::new(s).map_err(|e| e.to_string());
        let (framework, preset) = (text(framework)?, text(preset)?);
        let mut options = [0f64; 64];
        let mut rule: *const c::Rule = std::ptr::null();
        let size = std::mem::size_of_val(&options);
        if unsafe { c::lockstep_preset(framework.as_ptr(), preset.as_ptr(), options.as_mut_ptr().cast(), size, &mut rule) } != 0 {
            return Err(format!("no preset {preset:?} of {framework:?}"));
        }
        let (rule, size) = unsafe { ((*rule).name, (*rule).size) };
        let names = tensors.iter().map(|t| text(t.0)).collect::<Result<Vec<_>, _>>()?;
        let list: Vec<_> = tensors
            .iter()
            .zip(&names)
            .map(|(t, name)| c::Tensor { name: name.as_ptr(), size: t.1, group: 0, state: std::ptr::null(), columns: 0, types: std::ptr::null() })
            .collect();
        let group = c::Group { rule, options: options.as_ptr().cast(), size };
        let mut o = null_mut();
        checked(|error| unsafe { c::lockstep_optimizer_new(&group, 1, list.as_ptr(), list.len(), &mut o, error) })?;
        let mut made = Optimizer { o, sizes: tensors.iter().map(|t| t.1).collect() };
        made.set_lr(lr)?;
        Ok(made)
    }

    pub fn set_lr(&mut self, lr: f64) -> Result<(), String> {
        checked(|error| unsafe { c::lockstep_optimizer_set_lr(self.o, 0, lr, error) })
    }

    /// Takes a step; a tensor without a gradient is left out.
    pub fn step(&mut self, params: &mut [&mut [f32]], grads: &[Option<&[f32]>]) -> Result<(), String> {
        if params.len() != self.sizes.len() || grads.len() != self.sizes.len() {
            return Err(format!("{} params and {} grads, want {} of each", params.len(), grads.len(), self.sizes.len()));
        }
        for (k, &size) in self.sizes.iter().enumerate() {
            if params[k].len() != size || grads[k].map_or(false, |g| g.len() != size) {
                return Err(format!("tensor {k} has {size} elements"));
            }
        }
        let params: Vec<_> = params.iter_mut().map(|p| p.as_mut_ptr()).collect();
        let grads: Vec<_> = grads.iter().map(|g| g.map_or(std::ptr::null(), |g| g.as_ptr())).collect();
        checked(|error| unsafe { c::lockstep_optimizer_step(self.o, params.as_ptr(), grads.as_ptr(), null_mut(), error) })
    }

    /// A state buffer of a tensor.
    pub fn state(&self, tensor: usize, slot: &str) -> Option<&[f32]> {
        let slot = CString::new(slot).ok()?;
        let size = *self.sizes.get(tensor)?;
        let at = unsafe { c::lockstep_optimizer_state(self.o, tensor, slot.as_ptr()) };
        (!at.is_null()).then(|| unsafe { std::slice::from_raw_parts(at, size) })
    }
}

impl Drop for Optimizer {
    fn drop(&mut self) {
        unsafe { c::lockstep_optimizer_free(self.o) }
    }
}
