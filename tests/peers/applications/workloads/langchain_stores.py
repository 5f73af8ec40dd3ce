# /// script
# dependencies = ["langchain-community", "openai-agents[sqlalchemy]", "aiosqlite"]
# [tool.application]
# about = "LangChain's and OpenAI Agents' memories in SQL"
# asynchronous = true
# ///
"""Conversations and records of documents, added one by one and at once, by both libraries."""

import asyncio
import json

from agents.extensions.memory import SQLAlchemySession
from langchain_community.chat_message_histories import SQLChatMessageHistory
from langchain_community.indexes._sql_record_manager import SQLRecordManager
from langchain_core.messages import HumanMessage


def remembered():
    """A conversation: eight messages one by one, eight at once."""
    history = SQLChatMessageHistory("one", connection="sqlite:///memory.db")
    for number in range(8):
        history.add_message(HumanMessage(f"message {number}"))
    history.add_messages([HumanMessage(f"message {number}") for number in range(8, 16)])
    return [message.content for message in history.messages]


def recorded():
    """Keys of documents."""
    manager = SQLRecordManager("space", db_url="sqlite:///records.db")
    manager.create_schema()
    keys = [f"key {number}" for number in range(20)]
    manager.update(keys, group_ids=["group"] * 20)
    there = [manager.exists([key])[0] for key in keys[:6]]
    manager.delete_keys(keys[:5])
    return [there, sorted(manager.list_keys()), manager.exists(["key 0", "key 9"])]


async def agents():
    """A session of an agent, on a loop."""
    session = SQLAlchemySession.from_url("two", url="sqlite+aiosqlite:///agents.db", create_tables=True)
    for number in range(6):
        await session.add_items([{"role": "user", "content": f"{number} {part}"} for part in range(3)])
    last = await session.pop_item()
    items = await session.get_items(limit=4)
    await session.engine.dispose()
    return [last["content"], [item["content"] for item in items]]


print(json.dumps([remembered(), recorded(), asyncio.run(agents())]))
