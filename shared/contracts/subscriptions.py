"""Who hears what: consumer group -> event types.

One static map, so that every process can declare every queue and binding before the first event is
published: a service that starts late finds its queue waiting for it.
"""

SUBSCRIPTIONS: dict[str, tuple[str, ...]] = {
    "profile.reactions": ("ticket.opened",),
    "feedback.reactions": ("feedback.received", "identity.resolved"),
    "loyalty.reactions": ("customer.registered", "purchase.recorded", "purchase.refunded"),
    "scoring.reactions": (
        "customer.registered",
        "purchase.recorded",
        "purchase.refunded",
        "ticket.opened",
        "ticket.linked",
        "ticket.updated",
        "ticket.resolved",
        "ticket.reopened",
        "survey.answered",
    ),
    "gateway.view": ("section.profile", "section.feedback", "section.loyalty", "section.scoring"),
    "gateway.timeline": (
        "customer.registered",
        "customer.updated",
        "identity.resolved",
        "consent.changed",
        "activity.recorded",
        "purchase.recorded",
        "purchase.refunded",
        "ticket.opened",
        "ticket.linked",
        "ticket.updated",
        "ticket.resolved",
        "ticket.reopened",
        "survey.answered",
        "points.earned",
        "points.redeemed",
        "points.reversed",
        "reward.redeemed",
        "coupon.issued",
        "score.updated",
    ),
}
