//! Envoy's interface for dynamic modules, written by hand from its header
//! (`source/extensions/dynamic_modules/abi/abi.h`): declarations, calls, and the hooks. `exports`
//! has the names by which Envoy finds these.
//!
//! By Envoy's policy a released function never changes in place. An Envoy that lacks one of these
//! refuses the module by the function's name. Each hook with code of ours is behind [`barrier`].

#![expect(
    unsafe_code,
    reason = "the calls and hooks of a C interface: each pointer is of a live slice or local, or \
              Envoy keeps it alive until the hook returns, or it is one of ours that comes back"
)]

pub mod exports;

use std::cell::Cell;
use std::ffi::c_void;
use std::sync::Arc;
use std::time::Duration;

use super::barrier::barrier;
use super::lent::Answer;
use crate::decision::request::Pair;
use crate::host::{FieldMap, Flow, Severity};

// === Declarations ===

/// Bytes, Envoy's or ours: the header has a type for each, of the same form.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct Slice {
    data: *const u8,
    size: usize,
}

/// A header: name and value.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct SlicePair {
    name: Slice,
    value: Slice,
}

pub(super) type Raw = *mut c_void;
pub(super) type Slices = *const Slice;
pub(super) type Pairs = *const SlicePair;
pub(super) type Opaque = *const c_void;
/// Defines a metric: name, labels, where its number goes.
type Define = unsafe extern "C" fn(Raw, Slice, Slices, usize, *mut usize) -> u32;
/// Changes a metric: its number, the labels' values, by or to what.
type Change = unsafe extern "C" fn(Raw, usize, Slices, usize, u64) -> u32;

#[rustfmt::skip] // a name and a line each
unsafe extern "C" {
    #[link_name = "envoy_dynamic_module_callback_log"]
    fn write_log(level: u32, message: Slice);
    #[link_name = "envoy_dynamic_module_callback_get_concurrency"]
    fn get_concurrency() -> u32;
    #[link_name = "envoy_dynamic_module_callback_http_filter_get_worker_index"]
    fn get_worker_index(stream: Raw) -> u32;
    #[link_name = "envoy_dynamic_module_callback_http_get_headers_size"]
    fn get_headers_size(stream: Raw, map: u32) -> usize;
    #[link_name = "envoy_dynamic_module_callback_http_get_headers"]
    fn get_headers(stream: Raw, map: u32, headers: *mut SlicePair) -> bool;
    #[link_name = "envoy_dynamic_module_callback_http_set_header"]
    fn set_header(stream: Raw, map: u32, name: Slice, value: Slice) -> bool;
    #[link_name = "envoy_dynamic_module_callback_http_add_header"]
    fn add_header(stream: Raw, map: u32, name: Slice, value: Slice) -> bool;
    #[link_name = "envoy_dynamic_module_callback_http_clear_route_cache"]
    fn clear_route_cache(stream: Raw);
    #[link_name = "envoy_dynamic_module_callback_http_send_response"]
    fn send_response(stream: Raw, status: u32, h: Pairs, count: usize, body: Slice, details: Slice);
    #[link_name = "envoy_dynamic_module_callback_http_set_filter_state_bytes"]
    fn set_filter_state(stream: Raw, key: Slice, value: Slice) -> bool;
    #[link_name = "envoy_dynamic_module_callback_http_get_filter_state_bytes"]
    fn get_filter_state(stream: Raw, key: Slice, value: *mut Slice) -> bool;
    #[link_name = "envoy_dynamic_module_callback_http_get_downstream_direct_remote_address"]
    fn get_direct_remote_address(stream: Raw, address: *mut Slice, port: *mut u32) -> bool;
    #[link_name = "envoy_dynamic_module_callback_http_filter_get_attribute_string"]
    fn get_attribute(stream: Raw, attribute: u32, value: *mut Slice) -> bool;
    #[link_name = "envoy_dynamic_module_callback_http_filter_increment_counter"]
    fn stream_increment(stream: Raw, id: usize, values: Slices, count: usize, by: u64) -> u32;
    #[link_name = "envoy_dynamic_module_callback_http_filter_config_define_counter"]
    fn define_counter(config: Raw, name: Slice, l: Slices, count: usize, id: *mut usize) -> u32;
    #[link_name = "envoy_dynamic_module_callback_http_filter_config_define_gauge"]
    fn define_gauge(config: Raw, name: Slice, l: Slices, count: usize, id: *mut usize) -> u32;
    #[link_name = "envoy_dynamic_module_callback_http_filter_config_increment_counter"]
    fn config_increment(config: Raw, id: usize, values: Slices, count: usize, by: u64) -> u32;
    #[link_name = "envoy_dynamic_module_callback_http_filter_config_set_gauge"]
    fn config_set_gauge(config: Raw, id: usize, values: Slices, count: usize, to: u64) -> u32;
    #[link_name = "envoy_dynamic_module_callback_http_filter_config_generic_secret_subscribe"]
    fn secret_subscribe(config: Raw, name: Slice, config_source: Slice) -> usize;
    #[link_name = "envoy_dynamic_module_callback_http_filter_config_get_generic_secret"]
    fn config_secret(config: Raw, id: usize, value: *mut Slice) -> bool;
    #[link_name = "envoy_dynamic_module_callback_http_filter_get_generic_secret"]
    fn stream_secret(stream: Raw, id: usize, value: *mut Slice) -> bool;
    #[link_name = "envoy_dynamic_module_callback_http_filter_config_http_callout"]
    fn http_callout(
        config: Raw, call: *mut u64, cluster: Slice, headers: Pairs, count: usize, body: Slice,
        milliseconds: u64,
    ) -> u32;
    #[link_name = "envoy_dynamic_module_callback_http_filter_config_scheduler_new"]
    fn scheduler_new(config: Raw) -> Raw;
    #[link_name = "envoy_dynamic_module_callback_http_filter_config_scheduler_commit"]
    fn scheduler_commit(scheduler: Raw, event: u64);
    #[link_name = "envoy_dynamic_module_callback_http_filter_config_scheduler_delete"]
    fn scheduler_delete(scheduler: Raw);
}

impl Slice {
    /// Removes a header, where it is the value.
    const NULL: Self = Self { data: std::ptr::null(), size: 0 };

    fn of(bytes: &[u8]) -> Self {
        Self { data: bytes.as_ptr(), size: bytes.len() }
    }

    /// The bytes, as long as Envoy keeps them.
    ///
    /// # Safety
    /// They are alive and don't change for `'a`.
    unsafe fn bytes<'a>(self) -> &'a [u8] {
        // SAFETY: the caller says so
        unsafe { elements(self.data, self.size) }
    }
}

/// # Safety
/// The list is null or has so many elements, which live for `'a`.
unsafe fn elements<'a, T>(list: *const T, count: usize) -> &'a [T] {
    if list.is_null() || count == 0 {
        return &[];
    }
    // SAFETY: the caller says so
    unsafe { std::slice::from_raw_parts(list, count) }
}

/// Null where there is nothing.
fn list<T>(values: &[T]) -> (*const T, usize) {
    (if values.is_empty() { std::ptr::null() } else { values.as_ptr() }, values.len())
}

fn pair(name: &str, value: &str) -> SlicePair {
    SlicePair { name: Slice::of(name.as_bytes()), value: Slice::of(value.as_bytes()) }
}

// === Calls ===

/// A fact about a request, by its number in Envoy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum Attribute {
    /// `source.address`
    SourceAddress = 24,
    /// `connection.dns_san_peer_certificate`
    DnsSanPeerCertificate = 35,
    /// `connection.uri_san_peer_certificate`
    UriSanPeerCertificate = 37,
}

/// Why a call can't be made, in Envoy's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CallRefusal {
    /// A header that each call has is missing
    MissingHeaders,
    /// No cluster has that name
    ClusterNotFound,
    /// No server of the cluster can be asked
    CannotCreateRequest,
}

/// Writes a line to Envoy's log.
pub fn log(severity: Severity, line: &str) {
    let level = match severity {
        Severity::Info => 2,
        Severity::Warning => 3,
        Severity::Error => 4,
    };
    // SAFETY: the slice is live
    unsafe { write_log(level, Slice::of(line.as_bytes())) }
}

/// A metric's number in a configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MetricId(usize);

/// A secret's number in a configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SecretId(usize);

/// Envoy's side of a configuration, for the main thread.
#[derive(Debug, Clone, Copy)]
pub struct ConfigHandle(Raw);

// SAFETY: a pointer that only Envoy reads. Hooks on the main thread make the calls.
unsafe impl Send for ConfigHandle {}
// SAFETY: likewise
unsafe impl Sync for ConfigHandle {}

impl ConfigHandle {
    /// Defines a counter. Envoy takes definitions only while a configuration is opened.
    pub fn define_counter(self, name: &str, labels: &[&str]) -> MetricId {
        self.define(define_counter, name, labels)
    }

    /// Defines a gauge.
    pub fn define_gauge(self, name: &str) -> MetricId {
        self.define(define_gauge, name, &[])
    }

    fn define(self, define: Define, name: &str, labels: &[&str]) -> MetricId {
        let labels: Vec<Slice> = labels.iter().map(|label| Slice::of(label.as_bytes())).collect();
        let (labels, count) = list(&labels);
        let mut id = 0;
        // SAFETY: the slices and the local are live
        let _status =
            unsafe { define(self.0, Slice::of(name.as_bytes()), labels, count, &raw mut id) };
        MetricId(id)
    }

    /// Adds to a counter. `label` is the value of its one label.
    pub fn add(self, id: MetricId, label: Option<&str>, amount: u64) {
        change(config_increment, self.0, id, label, amount);
    }

    /// Sets a gauge.
    pub fn set_gauge(self, id: MetricId, value: u64) {
        change(config_set_gauge, self.0, id, None, value);
    }

    /// Has Envoy keep a generic secret. `source` is a `ConfigSource` in JSON; empty for a secret of
    /// the bootstrap. `None` if Envoy refuses; its log says why. Envoy takes that only while a
    /// configuration is opened, and opens no listener before the secret came or took too long.
    pub fn subscribe(self, name: &str, source: &str) -> Option<SecretId> {
        let (name, source) = (Slice::of(name.as_bytes()), Slice::of(source.as_bytes()));
        // SAFETY: both slices are live
        let id = unsafe { secret_subscribe(self.0, name, source) };
        (id != 0).then_some(SecretId(id))
    }

    /// A secret, if it is there by now.
    pub fn secret(self, id: SecretId) -> Option<Vec<u8>> {
        // SAFETY: the local is live
        lent(|value| unsafe { config_secret(self.0, id.0, value) }).filter(|it| !it.is_empty())
    }

    /// Calls a server of a cluster; returns the call's number.
    ///
    /// # Errors
    /// Why no call can be made.
    pub fn call(
        self,
        cluster: &str,
        headers: &[(&str, &str)],
        timeout: Duration,
    ) -> Result<u64, CallRefusal> {
        let headers: Vec<SlicePair> =
            headers.iter().map(|(name, value)| pair(name, value)).collect();
        let (headers, count) = list(&headers);
        let (cluster, body) = (Slice::of(cluster.as_bytes()), Slice::of(&[]));
        let timeout = u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX);
        let mut call = 0;
        // SAFETY: the slices and the local are live
        let status =
            unsafe { http_callout(self.0, &raw mut call, cluster, headers, count, body, timeout) };
        match status {
            0 => Ok(call),
            1 => Err(CallRefusal::MissingHeaders),
            2 => Err(CallRefusal::ClusterNotFound),
            _ => Err(CallRefusal::CannotCreateRequest),
        }
    }

    /// How many workers Envoy has.
    pub fn workers(self) -> usize {
        // SAFETY: no pointers
        usize::try_from(unsafe { get_concurrency() }).unwrap_or(0)
    }

    /// A scheduler of the configuration.
    pub fn scheduler(self) -> ConfigScheduler {
        // SAFETY: the configuration is alive
        ConfigScheduler(unsafe { scheduler_new(self.0) })
    }
}

fn change(change: Change, whose: Raw, id: MetricId, label: Option<&str>, amount: u64) {
    let label = label.map(|label| Slice::of(label.as_bytes()));
    let (values, count) = list(label.as_slice());
    // SAFETY: the slice is live
    let _status = unsafe { change(whose, id.0, values, count, amount) };
}

/// What brings another thread's wish to the main thread.
#[derive(Debug)]
pub struct ConfigScheduler(Raw);

// SAFETY: Envoy takes the call from any thread
unsafe impl Send for ConfigScheduler {}

impl ConfigScheduler {
    /// Has Envoy call [`Hooks::tick`] on its main thread.
    pub fn commit(&self) {
        // SAFETY: it is alive until it is dropped
        unsafe { scheduler_commit(self.0, 0) }
    }
}

impl Drop for ConfigScheduler {
    fn drop(&mut self) {
        // SAFETY: nothing uses it from here on
        unsafe { scheduler_delete(self.0) }
    }
}

/// Envoy's side of a request, while one of its hooks runs. Each hook has one, so what it lends is
/// alive until something is set by it.
#[derive(Debug)]
pub struct StreamHandle<'s> {
    stream: Raw,
    is_answered: &'s Cell<bool>,
}

/// How many fields are read without an allocation.
const FEW: usize = 32;

impl StreamHandle<'_> {
    /// The worker that it belongs to, counted from 0.
    pub fn worker(&self) -> usize {
        // SAFETY: the stream is alive
        usize::try_from(unsafe { get_worker_index(self.stream) }).unwrap_or(usize::MAX)
    }

    /// All headers or trailers, as Envoy holds them.
    pub fn fields(&self, map: FieldMap) -> Vec<Pair<'_>> {
        let (map, empty) = (map as u32, SlicePair { name: Slice::NULL, value: Slice::NULL });
        // SAFETY: the stream is alive
        let count = unsafe { get_headers_size(self.stream, map) };
        let (mut few, mut many) = ([empty; FEW], Vec::new());
        let fields = few.get_mut(..count).unwrap_or_else(|| {
            many.resize(count, empty);
            &mut many
        });
        // SAFETY: there is room for `count` pairs, which is how many Envoy writes
        if count == 0 || !unsafe { get_headers(self.stream, map, fields.as_mut_ptr()) } {
            return Vec::new();
        }
        // SAFETY: Envoy keeps the bytes until a field is set. That takes this handle whole
        fields.iter().map(|it| unsafe { (it.name.bytes(), it.value.bytes()) }).collect()
    }

    /// Sets a header, or adds one that there isn't. Returns whether Envoy took it.
    pub fn put(&mut self, is_there: bool, name: &[u8], value: &[u8]) -> bool {
        let put = if is_there { set_header } else { add_header };
        // SAFETY: both slices are live; Envoy copies them
        unsafe { put(self.stream, 0, Slice::of(name), Slice::of(value)) }
    }

    /// Removes every copy of a header. Returns whether Envoy did so.
    pub fn remove(&mut self, map: FieldMap, name: &[u8]) -> bool {
        // SAFETY: the slice is live
        unsafe { set_header(self.stream, map as u32, Slice::of(name), Slice::NULL) }
    }

    /// Has Envoy choose the route by the headers as they are now.
    pub fn choose_route(&mut self) {
        // SAFETY: the stream is alive
        unsafe { clear_route_cache(self.stream) }
    }

    /// Answers the request, unless it was answered in this hook.
    pub fn answer(&mut self, status: u16, headers: &[(&str, String)], body: &[u8], details: &str) {
        let headers: Vec<SlicePair> =
            headers.iter().map(|(name, value)| pair(name, value)).collect();
        let (headers, count) = list(&headers);
        let (body, details) = (Slice::of(body), Slice::of(details.as_bytes()));
        if !self.is_answered.replace(true) {
            // SAFETY: all slices are live; Envoy copies them
            unsafe { send_response(self.stream, status.into(), headers, count, body, details) }
        }
    }

    /// Writes filter state. Returns whether Envoy took it.
    pub fn set_filter_state(&self, key: &str, value: &[u8]) -> bool {
        // SAFETY: both slices are live; Envoy copies them
        unsafe { set_filter_state(self.stream, Slice::of(key.as_bytes()), Slice::of(value)) }
    }

    /// Filter state that is text.
    pub fn filter_state(&self, key: &str) -> Option<Vec<u8>> {
        let key = Slice::of(key.as_bytes());
        // SAFETY: the slice and the local are live
        lent(|value| unsafe { get_filter_state(self.stream, key, value) })
    }

    /// A secret as it is now. Empty if it isn't there.
    pub fn secret(&self, id: SecretId) -> &[u8] {
        let mut value = Slice::NULL;
        // SAFETY: the local is live. Envoy replaces a worker's secret between hooks alone
        unsafe {
            if stream_secret(self.stream, id.0, &raw mut value) { value.bytes() } else { &[] }
        }
    }

    /// The address at the other end of the connection, without its port.
    pub fn direct_remote_address(&self) -> Option<Vec<u8>> {
        let mut port = 0;
        // SAFETY: both locals are live
        lent(|address| unsafe { get_direct_remote_address(self.stream, address, &raw mut port) })
    }

    /// An attribute that is text.
    pub fn attribute(&self, attribute: Attribute) -> Option<Vec<u8>> {
        // SAFETY: the local is live
        lent(|value| unsafe { get_attribute(self.stream, attribute as u32, value) })
    }

    /// Adds to a counter. `label` is the value of its one label.
    pub fn add(&self, id: MetricId, label: Option<&str>, amount: u64) {
        change(stream_increment, self.stream, id, label, amount);
    }
}

/// A copy of the bytes that Envoy points at.
fn lent(call: impl FnOnce(*mut Slice) -> bool) -> Option<Vec<u8>> {
    let mut value = Slice::NULL;
    // SAFETY: Envoy keeps the bytes until a header is set; they are copied at once
    call(&raw mut value).then(|| unsafe { value.bytes() }.to_vec())
}

// === Hooks ===

/// What a configuration does at Envoy's hooks. Envoy's main thread calls all but the last two.
pub trait Hooks: Send + Sync + Sized + 'static {
    /// Opens a configuration. `None` refuses it; the log says why.
    fn open(config: ConfigHandle, text: &[u8]) -> Option<Self>;
    /// No more calls for Envoy's side of the configuration. Its streams may go on.
    fn close(&self);
    /// What a scheduler asked for.
    fn tick(&self);
    /// A server answered a call.
    fn answered(&self, call: u64, answer: &Answer<'_>);
    /// An answer was lost.
    fn unanswered(&self);
    /// The headers of a request are complete.
    fn headers(&self, stream: &mut StreamHandle<'_>) -> Flow;
    /// The trailers of a request are complete.
    fn trailers(&self, stream: &mut StreamHandle<'_>);
}

/// The stream of a filter that couldn't be made. Its request is answered.
static NOBODY: u8 = 0;

/// Says where a panic was. What it says may have a request's bytes in it, so that stays out of the
/// log.
pub(super) fn program_init() -> *const std::ffi::c_char {
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        log(Severity::Error, &format!("waybill: panicked at {place}"));
    }));
    c"v0.2.0".as_ptr() // of these declarations; Envoy warns where its own is another
}

/// # Safety
/// As Envoy calls it: all pointers are live.
pub(super) unsafe fn config_new<H: Hooks>(config: Raw, text: Slice) -> *const H {
    let work = || {
        // SAFETY: Envoy keeps the text until the hook returns
        let text = unsafe { text.bytes() };
        H::open(ConfigHandle(config), text).map_or(std::ptr::null(), |it| Arc::into_raw(it.into()))
    };
    barrier("http_filter_config_new", work, std::ptr::null)
}

/// # Safety
/// `instance` is of `config_new`, and this is its last use there.
pub(super) unsafe fn config_destroy<H: Hooks>(instance: *const H) {
    // SAFETY: the caller says so; streams hold it for themselves
    let instance = unsafe { Arc::from_raw(instance) };
    // whatever comes in between, nothing calls Envoy for this configuration from here on
    let again = || barrier("close", || instance.close(), || ());
    barrier("http_filter_config_destroy", || instance.close(), again);
    barrier("drop", || drop(instance), || ());
}

/// # Safety
/// `instance` is of `config_new`, and not destroyed.
pub(super) unsafe fn scheduled<H: Hooks>(instance: *const H) {
    // SAFETY: the caller says so
    let instance = unsafe { &*instance };
    barrier("http_filter_config_scheduled", || instance.tick(), || ());
}

/// # Safety
/// `instance` is of `config_new`, and not destroyed. The lists have so many elements, or are null.
pub(super) unsafe fn callout_done<H: Hooks>(
    instance: *const H,
    call: u64,
    (headers, header_count): (*const SlicePair, usize),
    (body, body_count): (*const Slice, usize),
) {
    // SAFETY: the caller says so
    let instance = unsafe { &*instance };
    let work = || {
        // SAFETY: Envoy keeps lists and bytes until the hook returns
        let (headers, body) =
            unsafe { (elements(headers, header_count), elements(body, body_count)) };
        // SAFETY: likewise
        let headers = headers.iter().map(|it| unsafe { (it.name.bytes(), it.value.bytes()) });
        // SAFETY: likewise
        let body = body.iter().map(|part| unsafe { part.bytes() });
        let answer = Answer { headers: headers.collect(), body: body.collect() };
        instance.answered(call, &answer);
    };
    let forget = || barrier("forget", || instance.unanswered(), || ());
    barrier("http_filter_config_http_callout_done", work, forget);
}

/// # Safety
/// `instance` is of `config_new`, and not destroyed.
pub(super) unsafe fn filter_new<H: Hooks>(instance: *const H) -> *const c_void {
    let work = || {
        // SAFETY: the caller says so. A stream may outlive its configuration
        unsafe { Arc::increment_strong_count(instance) };
        instance.cast()
    };
    barrier("http_filter_new", work, || (&raw const NOBODY).cast())
}

/// # Safety
/// `filter` is of `filter_new`, and this is its last use.
pub(super) unsafe fn filter_destroy<H: Hooks>(filter: Opaque) {
    let work = || {
        // SAFETY: the caller says so
        unsafe { instance::<H>(filter) }.is_some().then(|| {
            // SAFETY: `filter_new` counted it
            unsafe { Arc::decrement_strong_count(filter.cast::<H>()) }
        });
    };
    barrier("http_filter_destroy", work, || ());
}

/// # Safety
/// `filter` is of `filter_new`, and not destroyed while the instance is used.
unsafe fn instance<'a, H: Hooks>(filter: Opaque) -> Option<&'a H> {
    // SAFETY: the caller says so
    (!std::ptr::addr_eq(filter, &raw const NOBODY)).then(|| unsafe { &*filter.cast() })
}

/// # Safety
/// `stream` is alive, and `filter` of `filter_new` for it.
pub(super) unsafe fn request_headers<H: Hooks>(stream: Raw, filter: Opaque) -> u32 {
    request_hook("http_filter_request_headers", stream, |stream: &mut StreamHandle<'_>| {
        // SAFETY: the caller says so
        match unsafe { instance::<H>(filter) } {
            Some(instance) => instance.headers(stream),
            None => stop(stream),
        }
    })
}

/// # Safety
/// `stream` is alive, and `filter` of `filter_new` for it.
pub(super) unsafe fn request_trailers<H: Hooks>(stream: Raw, filter: Opaque) -> u32 {
    request_hook("http_filter_request_trailers", stream, |stream: &mut StreamHandle<'_>| {
        // SAFETY: the caller says so
        unsafe { instance::<H>(filter) }.into_iter().for_each(|it| it.trailers(stream));
        Flow::Continue
    })
}

/// A hook for a request that is alive. A panic answers it.
fn request_hook(hook: &str, stream: Raw, work: impl FnOnce(&mut StreamHandle<'_>) -> Flow) -> u32 {
    let is_answered = &Cell::new(false);
    let handle = || StreamHandle { stream, is_answered };
    match barrier(hook, || work(&mut handle()), || stop(&mut handle())) {
        Flow::Continue => 0,
        Flow::Stop => 1,
    }
}

fn stop(stream: &mut StreamHandle<'_>) -> Flow {
    stream.answer(503, &[], &[], "waybill_undecided");
    Flow::Stop
}

macro_rules! hooks {
    ($($name:ident($($arg:ident: $type:ty),*) -> $back:ty { $($body:tt)* })*) => {$(
        #[expect(unsafe_code, clippy::allow_attributes, reason = "one of Envoy's hooks")]
        #[unsafe(no_mangle)]
        unsafe extern "C" fn $name($($arg: $type),*) -> $back {
            #[allow(unused_unsafe, reason = "a hook may do nothing")]
            // SAFETY: Envoy calls it as its header says
            unsafe { $($body)* }
        }
    )*};
}
pub(super) use hooks;
