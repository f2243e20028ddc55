//! The root context: one for each configuration in each VM.

use std::cell::RefCell;
use std::rc::Rc;

use log::{error, info, warn};
use proxy_wasm::hostcalls;
use proxy_wasm::traits::{Context, HttpContext, RootContext};
use proxy_wasm::types::ContextType;

use super::http::Exchange;
use super::instance::Instance;
use super::{keeper, vm};
use crate::chain::keyring::from_environment;
use crate::decision::event::Ledger;
use crate::host;

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
    static LEDGER: Rc<RefCell<Ledger>> = Rc::new(RefCell::new(Ledger::new(host::random_number())));
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
            keeper::answer(keeper, token, body_size, vm::now().0);
        }
    }
}

impl RootContext for Root {
    fn on_tick(&mut self) {
        if let Some(keeper) = self.instance.as_ref().and_then(|instance| instance.keeper.as_ref()) {
            keeper.tick(vm::now().0);
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
        match host::configure(&bytes, &from_environment) {
            Ok((screen, keyring)) => {
                let (line, notices) = host::announcement(&screen, &keyring, vm::now().seconds());
                info!("{line}");
                notices.iter().for_each(|notice| warn!("{notice}"));
                let ledger = LEDGER.with(Rc::clone);
                let instance = Instance::new(screen, keyring, ledger);
                if instance.keeper.is_some()
                    && let Err(status) = hostcalls::set_tick_period(host::TICK)
                {
                    error!(
                        "waybill: the host refuses ticks, so no snapshot can be fetched: \
                         {status:?}"
                    );
                }
                self.instance = Some(Rc::new(instance));
                true
            }
            Err(lines) => {
                lines.iter().for_each(|line| error!("{line}"));
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
