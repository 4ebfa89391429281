"""Finding customers: by identity, by the beginning of a name, page by page."""

from services.profile.customers import store
from tests.profile.made import LI_LEI, Profile


async def found(profile: Profile, **parameters: str | int) -> list[str]:
    """The names of all pages."""
    names: list[str] = []
    for _ in range(50):
        answer = await profile.client.get("/v1/customers", params=parameters)
        assert answer.status_code == 200, answer.text
        names += [item["name"] for item in answer.json()["items"]]
        if answer.json()["next_cursor"] is None:
            return names
        parameters["cursor"] = answer.json()["next_cursor"]
    raise AssertionError("the pages never end")


BY_ANYTHING = [
    "email=LiLei@example.com",
    "phone=%2B8613800138000",
    "phone=+8613800138000",
    "phone=13800138000",
    "external_id=shop:C-17",
    "q=%E6%9D%8E",
    "q=%E9%9B%B7",
    "q=lilei@",
    "q=c-1",
    "q=138",
    "q=%2B8613",
]


async def test_a_customer_is_found_by_any_identity_and_by_name(profile: Profile) -> None:
    customer_id = await profile.register(**LI_LEI)
    await profile.register(name="Anna", email="anna@example.com")
    for query in BY_ANYTHING:
        answer = await profile.client.get(f"/v1/customers?{query}")
        assert [item["id"] for item in answer.json()["items"]] == [customer_id], query
        assert answer.json()["next_cursor"] is None


NONSENSE = [
    ("email=x", 422),
    ("phone=12", 422),
    ("external_id=C-17", 422),
    ("external_id=shop:", 422),
    ("q=", 422),
    ("q=%20", 422),
    ("q=%00", 422),
    ("email=a@example.com&q=a", 422),
    ("email=a@example.com&phone=13800138000", 422),
    ("limit=0", 422),
    ("limit=201", 422),
    ("cursor=nonsense", 400),
    ("q=a&cursor=WzFd", 400),
    ("cursor=WyJ4Il0", 400),
]


async def test_a_question_that_makes_no_sense_is_refused(profile: Profile) -> None:
    answers = [
        (query, (await profile.client.get(f"/v1/customers?{query}")).status_code) for query, _ in NONSENSE
    ]
    assert answers == NONSENSE


async def test_without_a_question_all_are_listed_the_newest_first(profile: Profile) -> None:
    names = [f"N{n}" for n in range(7)]
    for name in names:
        await profile.register(name=name)
    assert await found(profile, limit=3) == names[::-1]


async def test_a_search_is_paged_in_order_and_shows_each_customer_once(profile: Profile) -> None:
    for name in ("Lily Lind", "lina", "Ann Linder", "Bo", "LINUS"):
        await profile.register(name=name, external_ids={"shop": f"Lin-{name[:2]}"})
    assert await found(profile, q="lin", limit=2) == ["Ann Linder", "Bo", "Lily Lind", "lina", "LINUS"]
    assert await found(profile, q="linu", limit=2) == ["LINUS"]
    assert await found(profile, q="nobody") == []


async def test_an_old_name_is_no_longer_found(profile: Profile) -> None:
    customer_id = await profile.register(name="Old Name", external_ids={"shop": "old"})
    patch = {"name": "New Name"}
    await profile.client.patch(f"/v1/customers/{customer_id}", json=patch, headers={"If-Match": '"v1"'})
    assert await found(profile, q="new") == ["New Name"]
    assert await found(profile, q="old n") == []
    assert await found(profile, q="old") == ["New Name"]


async def test_a_search_reads_its_page_and_not_the_table(profile: Profile) -> None:
    await profile.pool.execute(
        """WITH made AS (INSERT INTO customers (id, created_at, updated_at)
                         SELECT uuid7(), now(), now() FROM generate_series(1, 20000) RETURNING id)
           INSERT INTO search_keys (key, customer_id) SELECT md5(id::text), id FROM made"""
    )
    await profile.pool.execute("ANALYZE search_keys")
    async with profile.pool.acquire() as connection, connection.transaction():
        await connection.execute("SET LOCAL plan_cache_mode = force_generic_plan")
        assert len(await store.search(connection, "a", None, 51)) == 51
        read = await connection.fetchval(
            """SELECT sum(pg_stat_get_xact_tuples_returned(relation::regclass))
               FROM unnest(ARRAY['search_keys', 'search_keys_pkey', 'search_keys_customer']) AS relation"""
        )
    assert 51 <= read < 500
