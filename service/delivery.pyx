"""What has completed, told to whoever waits for it: futures, and connections by the row.

This module owns that everybody is told, and that money which has not moved is given back before.
It keeps nothing, and never looks at what an outcome means.
"""

from ledgercore.submission cimport Submission
from service.connection cimport Connection


def deliver(submission, list waiters, bint is_look_up=False):
    """Tell every waiter that a submission has completed: futures, and connections by row. For what
    was only looked up nothing was charged."""
    cdef Py_ssize_t i
    cdef Connection connection
    for i in range(len(waiters)):
        waiter = waiters[i]
        if type(waiter) is Connection:
            connection = waiter
            if not is_look_up:
                connection.admission.refund(connection.client, submission, i, connection.charged_ns)
            if connection.is_lost:
                continue
            if is_look_up:
                connection.tell_known(submission, i)
            else:
                connection.tell(submission, i)
        # A future that is done was cancelled: its client hung up. Its transfer stands.
        elif not waiter.done():
            waiter.set_result(submission)


def give_back(Submission submission, list waiters):
    """Give back the money of the rows of connections, of a submission that was not taken."""
    cdef Py_ssize_t i
    cdef Connection connection
    for i in range(len(waiters)):
        if type(waiters[i]) is Connection:
            connection = waiters[i]
            connection.admission.give_back(connection.client, submission, i, connection.charged_ns)
