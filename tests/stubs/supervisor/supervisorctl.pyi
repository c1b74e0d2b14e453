class Controller:
    exitstatus: int
    def output(self, message: str) -> None: ...

class ControllerPluginBase:
    name: str
    ctl: Controller
