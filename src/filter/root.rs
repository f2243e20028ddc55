//! The root context: one for each configuration in each VM.

use std::cell::RefCell;
use std::rc::Rc;

use log::{error, info, warn};
use proxy_wasm::hostcalls;
use proxy_wasm::traits::{Context, HttpContext, RootContext};
use proxy_wasm::types::ContextType;

use super::host;
use super::http::Exchange;
use super::instance::Instance;
use super::keeper;
use crate::chain::keyring::Keyring;
use crate::decision::Screen;
use crate::decision::event::Ledger;
use crate::terms::time::UnixSeconds;

/// The module's entry, which the SDK's macro writes.
#[cfg(feature = "entry")]
mod start {
    use proxy_wasm::types::LogLevel;

    use super::{Root, RootContext};

    proxy_wasm::main! {{
        proxy_wasm::set_log_level(LogLevel::Info);
        proxy_wasm::set_root_context(|_| -> Box<dyn RootContext> { Box::new(Root::default()) });
    }}
}

thread_local! {
    /// One chain of events for each VM. It outlives configurations: an update makes a new root
    /// context in the same VM, and streams of the old one still end.
    static LEDGER: Rc<RefCell<Ledger>> = Rc::new(RefCell::new(Ledger::new(vm_number())));
}

/// What Envoy calls for a configuration: begins without one, and gets it when it is configured.
#[derive(Debug, Default)]
pub struct Root {
    instance: Option<Rc<Instance>>,
}

impl Context for Root {
    fn on_http_call_response(
        &mut self,
        token: u32,
        _headers: usize,
        body_size: usize,
        _trailers: usize,
    ) {
        if let Some(keeper) = self.instance.as_ref().and_then(|instance| instance.keeper.as_ref()) {
            keeper::answer(keeper, token, body_size, host::now().0);
        }
    }
}

impl RootContext for Root {
    fn on_tick(&mut self) {
        if let Some(keeper) = self.instance.as_ref().and_then(|instance| instance.keeper.as_ref()) {
            keeper.tick(host::now().0);
        }
    }

    fn on_configure(&mut self, _size: usize) -> bool {
        let bytes = match hostcalls::get_buffer(
            proxy_wasm::types::BufferType::PluginConfiguration,
            0,
            usize::MAX,
        ) {
            Ok(Some(bytes)) => bytes,
            Ok(None) | Err(_) => Vec::new(),
        };
        let Ok(text) = std::str::from_utf8(&bytes) else {
            error!(
                "waybill: the configuration isn't UTF-8; give it as JSON in a \
                 google.protobuf.StringValue"
            );
            return false;
        };
        let read = Screen::parse(text).and_then(|screen| {
            let keyring = Keyring::read(&screen.config().tag, &|name| std::env::var(name))?;
            Ok((screen, keyring))
        });
        match read {
            Ok((screen, keyring)) => {
                announce(&screen, &keyring, host::now().seconds());
                let ledger = LEDGER.with(Rc::clone);
                let instance = Instance::new(screen, keyring, ledger);
                if instance.keeper.is_some()
                    && let Err(status) = hostcalls::set_tick_period(keeper::TICK)
                {
                    error!(
                        "waybill: the host refuses ticks, so no snapshot can be fetched: \
                         {status:?}"
                    );
                }
                self.instance = Some(Rc::new(instance));
                true
            }
            Err(problems) => {
                for problem in problems.iter() {
                    error!("waybill: configuration refused: {problem}");
                }
                false
            }
        }
    }

    fn create_http_context(&self, _id: u32) -> Option<Box<dyn HttpContext>> {
        Some(Box::new(Exchange::new(self.instance.clone())))
    }

    fn get_type(&self) -> Option<ContextType> {
        Some(ContextType::HttpContext)
    }
}

/// Tells the operator which node, policy, register and key this VM now works by.
fn announce(screen: &Screen, keyring: &Keyring, now: UnixSeconds) {
    let config = screen.config();
    info!(
        "waybill {}: node {}, mode {}, policy {}, customers {}, regions {}, signs by {}",
        env!("CARGO_PKG_VERSION"),
        config.node.id,
        config.policy.mode,
        config.policy.revision,
        config.register.as_ref().map_or_else(
            || "by snapshot".to_owned(),
            |register| register.customers().count().to_string()
        ),
        config.regions.as_ref().map_or("by snapshot", |regions| regions.set.as_str()),
        keyring.signing(now).map_or("no key", |signer| signer.keyid.as_str()),
    );
    for notice in config.notices.iter().chain(&keyring.notices(now)) {
        warn!("waybill: {notice}");
    }
}

/// A number that no other VM has. Where the host has no random source, the ledger says so by zeros.
fn vm_number() -> u64 {
    getrandom::u64().unwrap_or(0)
}
