//! What the process uses of its machine, and how busy its worker threads are.

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;

use metrics::Counter;
use metrics::Gauge;
use metrics::counter;
use metrics::gauge;
use metrics_process::Collector;
use tokio::runtime::Handle;
use tokio_metrics::RuntimeIntervals;
use tokio_metrics::RuntimeMonitor;

/// The process and the runtime of tokio.
#[derive(Clone)]
pub(super) struct Runtime {
    process: Collector,
    handle: Handle,
    workers: Gauge,
    tasks: Gauge,
    queue: Gauge,
    parks: Counter,
    busy: Gauge,
    busiest: Gauge,
    /// What has changed between two calls of `upkeep`.
    intervals: Arc<Mutex<RuntimeIntervals>>,
}

impl Runtime {
    /// Of this process and of the runtime that this is called in.
    pub(super) fn new() -> Self {
        let process = Collector::default();
        process.describe();
        let handle = Handle::current();
        Self {
            process,
            workers: gauge!("tokio_workers"),
            tasks: gauge!("tokio_live_tasks"),
            queue: gauge!("tokio_global_queue_depth"),
            parks: counter!("tokio_parks_total"),
            busy: gauge!("tokio_busy_ratio"),
            busiest: gauge!("tokio_busiest_worker_ratio"),
            intervals: Arc::new(Mutex::new(RuntimeMonitor::new(&handle).intervals())),
            handle,
        }
    }

    /// Sets what is true of a moment.
    #[expect(clippy::cast_precision_loss, reason = "a gauge is a float; there are not 2^53 of any")]
    pub(super) fn look(&self) {
        self.process.collect();
        let runtime = self.handle.metrics();
        self.workers.set(runtime.num_workers() as f64);
        self.tasks.set(runtime.num_alive_tasks() as f64);
        self.queue.set(runtime.global_queue_depth() as f64);
    }

    /// Sets what is true of the time since the last call.
    ///
    /// Not when it is asked for: whoever asks often, or beside somebody else, would see nothing but
    /// moments.
    #[expect(clippy::cast_precision_loss, reason = "there are not 2^53 worker threads")]
    pub(super) fn upkeep(&self) {
        let mut intervals = self.intervals.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(interval) = intervals.next() else { return };
        self.parks.increment(interval.total_park_count);
        let elapsed = interval.elapsed.as_secs_f64();
        if elapsed > 0.0 && interval.workers_count > 0 {
            let all = elapsed * interval.workers_count as f64;
            self.busy.set(interval.total_busy_duration.as_secs_f64() / all);
            self.busiest.set(interval.max_busy_duration.as_secs_f64() / elapsed);
        }
    }
}
