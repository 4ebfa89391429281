"""What scoring shows of a customer in the 360 view, and, beside what is typical, at GET /v1/scores/{id}."""

from uuid import UUID

import asyncpg
import orjson

from services.scoring.value.rules import WHY_UNKNOWN
from shared.messaging.sections import Section

_BUILD = """
    SELECT f.customer_id, jsonb_build_object(
        'as_of', s.as_of,
        'rfm', CASE WHEN f.days > 0 THEN jsonb_build_object(
            'recency_days', s.as_of - f.last_on, 'frequency', f.days,
            'monetary', jsonb_build_object('amount', f.spend, 'currency', f.currency),
            'recency_score', s.recency_score, 'frequency_score', s.frequency_score,
            'monetary_score', s.monetary_score,
            'weighted', s.weighted_score,
            'score', s.recency_score::text || s.frequency_score::text || s.monetary_score::text) END,
        'segment', s.segment,
        'segments', coalesce((SELECT jsonb_agg(g.name ORDER BY g.name) FROM segment_members b
                              JOIN segments g ON g.id = b.segment_id
                              WHERE b.customer_id = f.customer_id), '[]'),
        'cluster', CASE WHEN k.cluster IS NOT NULL THEN jsonb_build_object(
            'label', k.cluster, 'profile', k.profile) END,
        'p_alive', s.p_alive,
        'expected_purchases', CASE WHEN s.expected_purchases IS NOT NULL THEN jsonb_build_object(
            'value', s.expected_purchases, 'horizon_days', s.horizon_days) END,
        'clv', CASE WHEN s.clv IS NOT NULL THEN jsonb_build_object(
            'amount', s.clv, 'currency', f.currency, 'horizon_days', s.horizon_days) END,
        'value_index', CASE WHEN i.customer_id IS NOT NULL THEN jsonb_build_object(
            'value', i.value, 'grade', i.grade, 'parts', i.parts,
            'moved', CASE WHEN i.moved IS NOT NULL THEN jsonb_build_object(
                'part', i.moved, 'by', i.moved_by) END) END,
        'next_best_actions', coalesce(n.actions, '[]'),
        'churn', CASE WHEN c.customer_id IS NOT NULL THEN jsonb_build_object(
            'risk', c.risk, 'threshold', c.threshold, 'above', c.above, 'model', c.model, 'kind', c.kind,
            'horizon_days', c.horizon_days, 'reasons', c.reasons, 'as_of', c.as_of) END,
        'models', jsonb_build_object(
            'purchases', s.purchase_kind || '/' || s.purchase_model,
            'spend', 'gamma_gamma/' || s.spend_model,
            'window', CASE WHEN m.id IS NOT NULL THEN jsonb_build_object(
                'from', m.window_from, 'to', m.window_to) END),
        'facts', jsonb_build_object(
            'purchases', f.purchases, 'refunds', f.refunds,
            'first_purchase_on', f.first_on, 'last_purchase_on', f.last_on,
            'other_spend', coalesce(f.other_spend, '[]'),
            'gaps', CASE WHEN f.gap_mean IS NOT NULL THEN jsonb_build_object(
                'mean_days', f.gap_mean, 'deviation_days', f.gap_deviation) END,
            'channels', coalesce(f.channels, '{}'), 'hours', f.hours,
            'tickets', jsonb_build_object(
                'total', f.tickets, 'open', f.open_tickets, 'complaints', f.complaints, 'mood', f.mood,
                'severe', f.severe_tickets, 'breaches', f.breaches,
                'complaint_categories', coalesce(f.complaint_categories, '{}')),
            'loyalty', CASE WHEN f.tier IS NOT NULL OR f.points IS NOT NULL THEN jsonb_build_object(
                'tier', f.tier, 'points', f.points) END,
            'surveys', jsonb_build_object('nps', f.nps, 'csat', f.csat, 'ces', f.ces)),
        'unknown', coalesce((
            SELECT jsonb_agg(jsonb_build_object(
                'what', split_part(code, '.', 1), 'why', $2::text::jsonb ->> split_part(code, '.', 2))
                ORDER BY place)
            FROM unnest(s.unknown) WITH ORDINALITY AS u (code, place)), '[]')
    )::text AS body
    FROM customer_facts f JOIN customer_scores s USING (customer_id)
    LEFT JOIN value_indexes i USING (customer_id)
    LEFT JOIN churn_risks c USING (customer_id)
    LEFT JOIN customer_segments k USING (customer_id)
    LEFT JOIN next_actions n USING (customer_id)
    LEFT JOIN models m ON m.kind = s.purchase_kind AND m.version = s.purchase_model
    WHERE f.customer_id = ANY ($1)
"""
_CUSTOMERS = "SELECT customer_id FROM customer_facts WHERE customer_id > $1 ORDER BY customer_id LIMIT $2"
_WORDS = orjson.dumps(WHY_UNKNOWN).decode()


async def build(connection: asyncpg.Connection, customer_ids: list[UUID]) -> dict[UUID, str]:
    """The section of each known customer as JSON text; the same bytes whenever the state is the same."""
    rows = await connection.fetch(_BUILD, customer_ids, _WORDS)
    return {row["customer_id"]: row["body"] for row in rows}


SECTION = Section("scoring", build, _CUSTOMERS)
