//! Draws with OpenGL inside the jail of a render process.
//!
//! By hand only: it needs `libEGL.so.1` and a driver, for example Mesa's in software.

use std::ffi::{CStr, c_char, c_int, c_uint, c_void};
use std::mem::transmute_copy;

use serde_json::json;
use simward_worker::jail::{self, Profile};

type Pointer = *mut c_void;

/// Enters the jail, loads the library, clears a picture of 64 by 64 and reads it back.
pub(crate) fn print(profile: &Profile) {
    let layers = jail::enter(profile).unwrap();
    let (renderer, pixel) = clear();
    println!("{}", json!({ "layers": layers, "renderer": renderer, "pixel": pixel }));
    assert_eq!(pixel, [255, 128, 0, 255]);
}

struct Library(Pointer);

impl Library {
    fn open(name: &CStr) -> Self {
        // SAFETY: a system library, whose initialisers may run at any time.
        let library = unsafe { libc::dlopen(name.as_ptr(), libc::RTLD_NOW) };
        // SAFETY: `dlerror` gives a text after a failure.
        let error = || unsafe { CStr::from_ptr(libc::dlerror()) };
        assert!(!library.is_null(), "{}", error().to_string_lossy());
        Self(library)
    }

    /// A function of EGL or OpenGL. Its type must be what their specifications say.
    unsafe fn function<F>(&self, name: &CStr) -> F {
        // SAFETY: the library is open, and the name ends with a zero byte.
        let mut found = unsafe { libc::dlsym(self.0, name.as_ptr()) };
        if found.is_null() {
            // SAFETY: the library has this function, of this type.
            let address = unsafe {
                let get = libc::dlsym(self.0, c"eglGetProcAddress".as_ptr());
                transmute_copy::<Pointer, extern "C" fn(*const c_char) -> Pointer>(&get)
            };
            found = address(name.as_ptr());
        }
        assert!(!found.is_null(), "there is no {}", name.to_string_lossy());
        // SAFETY: the caller says that it is a function of this type.
        unsafe { transmute_copy(&found) }
    }
}

/// The name of the renderer, and a pixel of the cleared picture.
fn clear() -> (String, [u8; 4]) {
    let egl = Library::open(c"libEGL.so.1");
    begin(&egl);
    let mut name: c_uint = 0;
    let mut pixels = [0_u8; 64 * 64 * 4];
    // SAFETY: the types are those of the specification, a context is current, and the pixels have
    // room for a picture of this size.
    unsafe {
        let make: extern "C" fn(c_int, *mut c_uint) = egl.function(c"glGenFramebuffers");
        make(1, &raw mut name);
        let bind: extern "C" fn(c_uint, c_uint) = egl.function(c"glBindFramebuffer");
        bind(0x8d40, name);
        let make: extern "C" fn(c_int, *mut c_uint) = egl.function(c"glGenRenderbuffers");
        make(1, &raw mut name);
        let bind: extern "C" fn(c_uint, c_uint) = egl.function(c"glBindRenderbuffer");
        bind(0x8d41, name);
        let store: extern "C" fn(c_uint, c_uint, c_int, c_int) =
            egl.function(c"glRenderbufferStorage");
        store(0x8d41, 0x8058, 64, 64);
        let attach: extern "C" fn(c_uint, c_uint, c_uint, c_uint) =
            egl.function(c"glFramebufferRenderbuffer");
        attach(0x8d40, 0x8ce0, 0x8d41, name);
        let colour: extern "C" fn(f32, f32, f32, f32) = egl.function(c"glClearColor");
        colour(1.0, 0.5, 0.0, 1.0);
        let clear: extern "C" fn(c_uint) = egl.function(c"glClear");
        clear(0x4000);
        let read: extern "C" fn(c_int, c_int, c_int, c_int, c_uint, c_uint, *mut u8) =
            egl.function(c"glReadPixels");
        read(0, 0, 64, 64, 0x1908, 0x1401, pixels.as_mut_ptr());
        let text: extern "C" fn(c_uint) -> *const c_char = egl.function(c"glGetString");
        let renderer = CStr::from_ptr(text(0x1f01)).to_string_lossy().into_owned();
        (renderer, [pixels[0], pixels[1], pixels[2], pixels[3]])
    }
}

/// Makes a context without a window current.
fn begin(egl: &Library) {
    let none = std::ptr::null_mut::<c_void>();
    // SAFETY: the types are those of the specification, and null is allowed where it is given.
    unsafe {
        let display: extern "C" fn(c_uint, Pointer, *const c_int) -> Pointer =
            egl.function(c"eglGetPlatformDisplayEXT");
        // EGL_PLATFORM_SURFACELESS_MESA.
        let display = display(0x31dd, none, std::ptr::null());
        let begin: extern "C" fn(Pointer, *mut c_int, *mut c_int) -> c_uint =
            egl.function(c"eglInitialize");
        assert_eq!(begin(display, std::ptr::null_mut(), std::ptr::null_mut()), 1);
        let bind: extern "C" fn(c_uint) -> c_uint = egl.function(c"eglBindAPI");
        assert_eq!(bind(0x30a2), 1);
        let create: extern "C" fn(Pointer, Pointer, Pointer, *const c_int) -> Pointer =
            egl.function(c"eglCreateContext");
        let context = create(display, none, none, std::ptr::null());
        let current: extern "C" fn(Pointer, Pointer, Pointer, Pointer) -> c_uint =
            egl.function(c"eglMakeCurrent");
        assert_eq!(current(display, none, none, context), 1);
    }
}
