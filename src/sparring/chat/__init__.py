"""Talking to what was trained, in the words around that it was trained in: for a terminal and a browser alike.

    session = open_session("runs/star-gate", tell=show)
    session.send("Where should we eat for a graduation?")      # returns when the model has said what it has to say
    session.send("/help")

`tell` is given events, plain dicts with the key `event`:

    delta    {who, part, text}           more of what is being said
    message  {who, part, text, facts}    what was said, whole: it replaces the deltas before it
    node     {tree, node}                a node of a tree (`report.browse.core.Node.row`); told again, it changed
    turn     {hint}                      it is the person's turn
    note     {text}                      a word of ours
    error    {text}                      what came to nothing; the session goes on

`who` is m_2, m_0, model, judge or refiner; `part` is question, answer, attempt, feedback, update, response or verdict.
All text in them is data, in any shape. `tell` may be called from another thread than `send` was, never by two at once.
"""

from sparring.chat.opening import open_session
from sparring.chat.session import Event, Session, Tell

__all__ = ["Event", "Session", "Tell", "open_session"]
