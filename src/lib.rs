//! Waybill: skeleton.
