//! Where everything meets: roles to services, start and drain order.
