"""`mezzotint serve`: a page, and the APIs that clients speak already, over one queue of jobs.

The front is one process without an engine: it takes requests, keeps the queue and tells who listens. Every loaded model
lives in a worker process of its own, so that an unloaded one gives all its memory back and a crash costs one job.

    web, native, a1111, openai, page  --Order-->  jobs.Studio  --Run-->  work.Worker  --Finished-->  the client

Contracts: an *order* is all that a job generates (orders/order.py); a *worker* takes messages and answers with others
(work/worker.py, work/messages.py); a *maker* generates what an order says (work/maker.py).
"""
