//! What is sent: Prometheus's remote write, version 1, as `prometheus/prompb/remote.proto` has it.

/// A request.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct WriteRequest {
    #[prost(message, repeated, tag = "1")]
    pub(super) timeseries: Vec<TimeSeries>,
}

/// Values of one series.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct TimeSeries {
    /// In the order of their names, of which `__name__` is one.
    #[prost(message, repeated, tag = "1")]
    pub(super) labels: Vec<Label>,
    #[prost(message, repeated, tag = "2")]
    pub(super) samples: Vec<Sample>,
}

#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, prost::Message)]
pub(super) struct Label {
    #[prost(string, tag = "1")]
    pub(super) name: String,
    #[prost(string, tag = "2")]
    pub(super) value: String,
}

#[derive(Clone, Copy, PartialEq, prost::Message)]
pub(super) struct Sample {
    #[prost(double, tag = "1")]
    pub(super) value: f64,
    /// In milliseconds since 1970.
    #[prost(int64, tag = "2")]
    pub(super) timestamp: i64,
}
