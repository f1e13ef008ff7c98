"""The types of sender.pyx. The docstrings there are its reference."""

from ..access.hosts import HostNames
from ..admission.admission import Admission, Client

class Sender:
    def __init__(self, admission: Admission, hosts: HostNames, is_local: bool) -> None: ...
    @property
    def client(self) -> Client | None: ...
