"""A real browser and a real JupyterLab, for the tests in this folder.

Nothing here leaves the machine: the server listens on 127.0.0.1, asks nobody for news or updates,
and keeps its configuration, workspaces and kernels' connection files in a temporary folder, so a
developer's own JupyterLab is neither read nor changed.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import nbformat
import psutil

if TYPE_CHECKING:  # so that this file can be imported, and its tests skipped, where playwright is missing
    from playwright.sync_api import Browser, Locator, Page, Playwright

REPOSITORY = Path(__file__).resolve().parents[2]

CHROMIUM_ARGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]

CHROMIUM_MISSING = (
    "no Chromium found for the browser tests. Install one (Debian: apt install chromium; anywhere: "
    "python -m playwright install chromium), or point KDLAB_CHROMIUM at the executable."
)

# ----------------------------------------------------------------------------- the browser


def find_chromium() -> str | None:
    """The Chromium to drive: ``KDLAB_CHROMIUM``, else one on the PATH, else one that playwright installed."""
    chosen = os.environ.get("KDLAB_CHROMIUM")
    if chosen:
        return chosen if Path(chosen).is_file() else None
    for name in ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable"):
        found = shutil.which(name)
        if found:
            return found
    return _playwright_chromium()


def _playwright_chromium() -> str | None:
    roots = [
        os.environ.get("PLAYWRIGHT_BROWSERS_PATH", ""),
        "~/.cache/ms-playwright",
        "~/Library/Caches/ms-playwright",
        "~/AppData/Local/ms-playwright",
    ]
    executables = (
        "chromium-*/chrome-linux*/chrome",
        "chromium-*/chrome-mac*/*.app/Contents/MacOS/*",
        "chromium-*/chrome-win*/chrome.exe",
        "chromium_headless_shell-*/*/*headless*shell*",
    )
    for root in filter(None, roots):
        for pattern in executables:
            found = sorted(Path(root).expanduser().glob(pattern))
            if found:
                return str(found[-1])
    return None


def launch_chromium(playwright: Playwright, executable: str) -> Browser:
    return playwright.chromium.launch(executable_path=executable, args=CHROMIUM_ARGS, headless=True)


def block_network(page: Page) -> list[str]:
    """Abort every request that is not a file, data or blob; the returned list fills with what was aborted."""
    aborted: list[str] = []

    def decide(route: Any) -> None:
        url = route.request.url
        if url.startswith(("file:", "data:", "blob:")):
            route.continue_()
        else:
            aborted.append(url)
            route.abort()

    page.route("**/*", decide)
    return aborted


def watch_errors(page: Page) -> list[str]:
    """A list that fills with the page's uncaught JavaScript errors."""
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    return errors


def screenshot(target: Page | Locator, path: str | Path) -> Path:
    """Save a picture of a page or of one element, making the folder when needed."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    target.screenshot(path=str(path), animations="disabled")
    return path


# ----------------------------------------------------------------------------- notebooks as files


def write_notebook(path: str | Path, cells: Sequence[str | tuple[str, str]]) -> Path:
    """Write a notebook: a string is a code cell, ``("markdown", text)`` a Markdown one. Ids are fixed."""
    notebook = nbformat.v4.new_notebook()
    notebook.metadata.kernelspec = {"name": "python3", "display_name": "Python 3", "language": "python"}
    for index, cell in enumerate(cells):
        kind, text = ("code", cell) if isinstance(cell, str) else cell
        make = nbformat.v4.new_code_cell if kind == "code" else nbformat.v4.new_markdown_cell
        notebook.cells.append(make(text, id=f"cell-{index}"))
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(notebook, path)
    return path


def execute_notebook(path: str | Path, *, timeout: float = 120) -> Path:
    """Run a notebook in place without a server, as ``jupyter execute`` does."""
    from nbclient import NotebookClient

    path = Path(path)
    notebook = nbformat.read(path, as_version=4)
    with _kernel_environment():
        NotebookClient(notebook, timeout=timeout, resources={"metadata": {"path": str(path.parent)}}).execute()
    nbformat.write(notebook, path)
    return path


def export_html(path: str | Path) -> Path:
    """Export an executed notebook as nbconvert's default HTML page, beside it."""
    from nbconvert import HTMLExporter

    path = Path(path)
    body, _ = HTMLExporter().from_filename(str(path))
    target = path.with_suffix(".html")
    target.write_text(body, encoding="utf-8")
    return target


@contextlib.contextmanager
def _kernel_environment() -> Iterator[None]:
    """Let kernels started inside import kdlab from this checkout, installed or not."""
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = _python_path(before)
    try:
        yield
    finally:
        if before is None:
            del os.environ["PYTHONPATH"]
        else:
            os.environ["PYTHONPATH"] = before


def _python_path(before: str | None) -> str:
    return os.pathsep.join(filter(None, [str(REPOSITORY), before]))


# ----------------------------------------------------------------------------- the JupyterLab server


class LabServer:
    """A JupyterLab server of our own over one folder; use it as a context manager, or call ``stop``.

    Args:
        root: the folder that the file browser shows and kernels start in.
        settings: JupyterLab settings by plugin, for example
            ``{"@jupyterlab/notebook-extension:tracker": {"windowingMode": "full"}}``.
        environment: variables added to those that server and kernels see.
        timeout: seconds to wait for the first answer.
    """

    def __init__(
        self,
        root: str | Path,
        *,
        settings: dict[str, dict[str, Any]] | None = None,
        environment: dict[str, str] | None = None,
        timeout: float = 60,
    ) -> None:
        self.root = Path(root).resolve()
        self.token = secrets.token_hex(16)
        self._folder = Path(tempfile.mkdtemp(prefix="kdlab-jupyter-"))
        self._processes: list[psutil.Process] = []
        port = _free_port()
        self.url = f"http://127.0.0.1:{port}"
        self._write_settings(settings or {})
        self._log = (self._folder / "server.log").open("wb")
        self._server = subprocess.Popen(
            self._command(port),
            cwd=self.root,
            env=self._environment(environment or {}),
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            self._wait(timeout)
        except BaseException:
            self.stop()
            raise

    def _write_settings(self, settings: dict[str, dict[str, Any]]) -> None:
        merged: dict[str, dict[str, Any]] = {
            "@jupyterlab/apputils-extension:notification": {"fetchNews": "false", "checkForUpdates": False},
            **settings,
        }
        for plugin, values in merged.items():
            package, name = plugin.split(":")
            path = self._folder / "settings" / package / f"{name}.jupyterlab-settings"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(values), encoding="utf-8")

    def _command(self, port: int) -> list[str]:
        return [
            sys.executable,
            "-m",
            "jupyterlab",
            "--no-browser",
            "--allow-root",
            f"--ServerApp.root_dir={self.root}",
            "--ServerApp.ip=127.0.0.1",
            f"--ServerApp.port={port}",
            "--ServerApp.port_retries=0",
            f"--IdentityProvider.token={self.token}",
            "--LabApp.expose_app_in_browser=True",  # window.jupyterapp, by which the helpers below drive it
            "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
            "--LabApp.extension_manager=readonly",
        ]

    def _environment(self, extra: dict[str, str]) -> dict[str, str]:
        # Kernel specs are still found: Jupyter looks in sys.prefix/share/jupyter whatever JUPYTER_DATA_DIR says.
        folders = {
            "JUPYTER_CONFIG_DIR": "config",
            "JUPYTER_DATA_DIR": "data",
            "JUPYTER_RUNTIME_DIR": "runtime",
            "JUPYTERLAB_SETTINGS_DIR": "settings",
            "JUPYTERLAB_WORKSPACES_DIR": "workspaces",
            "IPYTHONDIR": "ipython",
            "KDLAB_HOME": "kdlab",
        }
        environment = {
            **os.environ,
            **{name: str(self._folder / folder) for name, folder in folders.items()},
            "JUPYTER_PREFER_ENV_PATH": "1",
            "PYTHONPATH": _python_path(os.environ.get("PYTHONPATH")),
            **extra,
        }
        environment.pop("JUPYTER_PATH", None)
        environment.pop("JUPYTER_TOKEN", None)
        return environment

    def _wait(self, timeout: float) -> None:
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            if self._server.poll() is not None:
                raise RuntimeError(f"JupyterLab ended with status {self._server.returncode}:\n{self.log()}")
            with contextlib.suppress(OSError, urllib.error.URLError):
                self.api("api/status")
                return
            time.sleep(0.1)
        raise TimeoutError(f"JupyterLab did not answer within {timeout} s:\n{self.log()}")

    def api(self, path: str) -> Any:
        """GET a path of the server's REST interface and read its JSON."""
        request = urllib.request.Request(f"{self.url}/{path}", headers={"Authorization": f"token {self.token}"})
        with urllib.request.urlopen(request, timeout=5) as answer:
            return json.load(answer)

    def log(self) -> str:
        """The last lines that the server wrote."""
        return (self._folder / "server.log").read_text(errors="replace")[-4000:]

    def stop(self) -> None:
        """End the server and every kernel it started, politely first; safe to call twice."""
        with contextlib.suppress(psutil.NoSuchProcess):
            # Kernels are leaders of sessions of their own, so the server's process group does not hold them.
            parent = psutil.Process(self._server.pid)
            self._processes = [parent, *parent.children(recursive=True)]
        if self._server.poll() is None:
            self._server.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._server.wait(timeout=5)
        for process in self._processes:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        self._server.wait(timeout=5)
        psutil.wait_procs(self._processes, timeout=5)
        self._log.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    def __enter__(self) -> LabServer:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


# ----------------------------------------------------------------------------- driving JupyterLab


def open_notebook(page: Page, server: LabServer, path: str | Path, *, timeout: float = 60) -> None:
    """Open the notebook at ``path`` (relative to the server's root) and wait until its kernel is idle."""
    path = Path(path)
    relative = path.resolve().relative_to(server.root) if path.is_absolute() else path
    page.goto(f"{server.url}/lab/tree/{relative.as_posix()}?token={server.token}&reset", timeout=timeout * 1000)
    page.wait_for_selector(".jp-NotebookPanel .jp-Notebook", timeout=timeout * 1000)
    wait_for_kernel(page, timeout=timeout)
    page.evaluate("() => window.jupyterapp.commands.execute('application:toggle-left-area')")


def run_all(page: Page, *, timeout: float = 120, allow_errors: bool = False) -> None:
    """Run every cell and wait until all are done and the kernel is idle.

    Raises:
        AssertionError: a cell raised (unless ``allow_errors``), or the run did not end in time.
    """
    from playwright.sync_api import TimeoutError as PlaywrightTimeout

    page.evaluate(
        """() => {
            window.kdRun = {done: false};
            window.jupyterapp.commands.execute('notebook:run-all-cells').finally(() => { window.kdRun.done = true; });
        }"""
    )
    try:
        page.wait_for_function(
            """() => window.kdRun.done
                && window.jupyterapp.shell.currentWidget.sessionContext.session?.kernel?.status === 'idle'""",
            timeout=timeout * 1000,
        )
    except PlaywrightTimeout as error:
        raise AssertionError(f"the cells were not done after {timeout} s") from error
    failures = cell_errors(page)
    if failures and not allow_errors:
        raise AssertionError("a cell raised:\n" + "\n".join(failures))


def cell_errors(page: Page) -> list[str]:
    """``cell N: Name: message`` for each error among the open notebook's outputs."""
    return page.evaluate(
        """() => Array.from(window.jupyterapp.shell.currentWidget.content.model.cells).flatMap((cell, index) =>
            (cell.type === 'code' ? cell.outputs.toJSON() : [])
                .filter((output) => output.output_type === 'error')
                .map((output) => `cell ${index}: ${output.ename}: ${output.evalue}`))"""
    )


def save_notebook(page: Page) -> None:
    """Save the open notebook, and wait until it is written."""
    page.evaluate("() => window.jupyterapp.commands.execute('docmanager:save')")


def run_cell(page: Page, index: int, source: str | None = None, *, timeout: float = 60, wait: bool = True) -> None:
    """Run one cell, with a new source if one is given; ``wait`` until the kernel is idle again."""
    page.evaluate(
        """([index, source]) => {
            const notebook = window.jupyterapp.shell.currentWidget.content;
            if (source !== null) notebook.model.cells.get(index).sharedModel.setSource(source);
            notebook.deselectAll();
            notebook.activeCellIndex = index;
            window.kdRun = {done: false};
            window.jupyterapp.commands.execute('notebook:run-cell').finally(() => { window.kdRun.done = true; });
        }""",
        [index, source],
    )
    if wait:
        page.wait_for_function("() => window.kdRun.done", timeout=timeout * 1000)


def restart_kernel(page: Page, *, timeout: float = 60) -> None:
    """Restart the kernel of the open notebook, as the button does, and wait until the new one is idle."""
    page.evaluate("() => window.jupyterapp.shell.currentWidget.sessionContext.session.kernel.restart()")
    wait_for_kernel(page, timeout=timeout)


def kill_kernel(page: Page) -> None:
    """Have the kernel end at once, with no chance to tidy up, and wait until the server has started another."""
    page.evaluate(
        """() => {
            const {kernel} = window.jupyterapp.shell.currentWidget.sessionContext.session;
            window.kdKilled = new Promise((resolve) => {
                const watch = (_, status) => {
                    if (status === 'autorestarting' || status === 'restarting' || status === 'dead') resolve(status);
                };
                kernel.statusChanged.connect(watch);
            });
            kernel.requestExecute({code: 'import os; os.kill(os.getpid(), 9)'});
        }"""
    )
    page.evaluate("() => window.kdKilled")
    wait_for_kernel(page)


def shut_down_kernel(page: Page) -> None:
    """End the kernel of the open notebook; the next one that opens it gets a new one."""
    page.evaluate("() => window.jupyterapp.shell.currentWidget.sessionContext.shutdown()")


def wait_for_kernel(page: Page, *, timeout: float = 60) -> None:
    """Wait until the open notebook has a kernel that is idle."""
    page.wait_for_function(
        """() => window.jupyterapp?.shell.currentWidget?.sessionContext?.session?.kernel?.status === 'idle'""",
        timeout=timeout * 1000,
    )


def set_theme(page: Page, theme: str) -> None:
    """Switch JupyterLab to its ``"light"`` or ``"dark"`` theme, and wait until the page wears it."""
    if theme not in ("light", "dark"):
        raise ValueError(f"theme must be 'light' or 'dark', got {theme!r}")
    name = f"JupyterLab {theme.capitalize()}"
    page.evaluate("(theme) => window.jupyterapp.commands.execute('apputils:change-theme', {theme})", name)
    page.wait_for_function("(name) => document.body.dataset.jpThemeName === name", arg=name)
    page.wait_for_timeout(300)  # the style sheet arrives after the attribute


def active_cell(page: Page) -> int:
    """Index of the selected cell."""
    return int(page.evaluate("() => window.jupyterapp.shell.currentWidget.content.activeCellIndex"))


def select_cell(page: Page, index: int) -> None:
    """Select a cell in command mode, as Escape and the arrow keys do."""
    page.evaluate(
        """(index) => {
            const notebook = window.jupyterapp.shell.currentWidget.content;
            notebook.activeCellIndex = index;
            notebook.mode = 'command';
        }""",
        index,
    )


def scroll_to_output(page: Page, index: int, *, timeout: float = 20) -> Locator:
    """Bring the output of cell ``index`` into view (attached even when rendering is windowed) and return it."""
    page.evaluate(
        """async (index) => {
            const notebook = window.jupyterapp.shell.currentWidget.content;
            await notebook.scrollToItem(index, 'start');
        }""",
        index,
    )
    cell = page.locator(f'.jp-NotebookPanel:not(.lm-mod-hidden) .jp-Cell[data-windowed-list-index="{index}"]')
    output = cell.locator(".jp-Cell-outputArea")
    output.wait_for(state="visible", timeout=timeout * 1000)
    output.evaluate("(element) => element.scrollIntoView({block: 'start'})")
    return output


# ----------------------------------------------------------------------------- what panels and lessons have in common


def markup_of(path: Path) -> str:
    """The HTML of a small notebook's panel, the output of its second cell."""
    notebook = json.loads(path.read_text(encoding="utf-8"))
    return "".join(notebook["cells"][1]["outputs"][0]["data"]["text/html"])


def numbers(nodes: Locator, name: str) -> list[float]:
    """The numbers that elements carry as ``data-NAME``."""
    return [float(value) for value in nodes.evaluate_all(f"nodes => nodes.map((node) => node.dataset.{name})")]


def assert_contrast(panel: Locator, theme: str, *, fills: Sequence[str], strokes: Sequence[str]) -> None:
    """Text stands out by 4.5 to 1 and marks by 3 to 1 (WCAG AA), on a ground that fits the theme."""
    measured = panel.evaluate(_CONTRASTS, {"fills": list(fills), "strokes": list(strokes)})
    assert len(measured["text"]) > 30
    assert {text: ratio for text, ratio in measured["text"].items() if ratio < 4.5} == {}
    assert {mark: ratio for mark, ratio in measured["marks"].items() if ratio < 3} == {}
    assert (measured["background"] < 0.5) == (theme == "dark")


_CONTRASTS = """(panel, {fills, strokes}) => {
    // A canvas turns any CSS colour, color-mix() included, into bytes, and blends what is half transparent.
    const context = Object.assign(document.createElement('canvas'), {width: 1, height: 1})
        .getContext('2d', {willReadFrequently: true});
    const over = (...layers) => {
        context.clearRect(0, 0, 1, 1);
        for (const layer of layers) { context.fillStyle = layer; context.fillRect(0, 0, 1, 1); }
        return Array.from(context.getImageData(0, 0, 1, 1).data.slice(0, 3));
    };
    const luminance = (rgb) => {
        const [r, g, b] = rgb.map((c) => c / 255).map((c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4));
        return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    };
    const ground = getComputedStyle(panel).backgroundColor;
    const contrast = (color) => {
        const [a, b] = [luminance(over(ground, color)), luminance(over(ground))];
        return (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    };
    const text = {};
    for (const node of panel.querySelectorAll('text, span, b, i, legend, button, output, .kd-heading, .kd-note')) {
        const own = Array.from(node.childNodes).some((child) => child.nodeType === Node.TEXT_NODE && child.data.trim());
        const style = getComputedStyle(node);
        if (own) text[`${node.getAttribute('class')}: ${node.textContent}`] =
            contrast(node instanceof SVGElement ? style.fill : style.color);
    }
    const marks = {};
    for (const selector of fills) {
        marks[selector] = contrast(getComputedStyle(panel.querySelector(selector)).fill);
    }
    for (const selector of strokes) {
        marks[selector] = contrast(getComputedStyle(panel.querySelector(selector)).stroke);
    }
    return {text, marks, background: luminance(over(ground))};
}"""


class StoredLesson:
    """A lesson as it is committed: its cells, and where to find one."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.cells = nbformat.read(REPOSITORY / "notebooks" / name, as_version=4).cells

    def cell_with(self, text: str) -> int:
        """Index of the first code cell whose source contains ``text``."""
        return next(i for i, cell in enumerate(self.cells) if cell.cell_type == "code" and text in cell.source)

    def assert_claims_hold(self, page: Page, copy: Path) -> None:
        """After Run All no cell raised, and every claim printed what it printed when it was committed."""
        assert cell_errors(page) == []
        save_notebook(page)
        rerun = nbformat.read(copy, as_version=4)
        claims = [i for i, cell in enumerate(self.cells) if "claim" in cell.metadata.get("tags", [])]
        assert len(claims) >= 6
        for i in claims:
            assert _printed(rerun.cells[i]) == _printed(self.cells[i])


def _printed(cell: dict[str, Any]) -> str:
    return "".join("".join(output["text"]) for output in cell.get("outputs", []) if output["output_type"] == "stream")
