"""What apps say of themselves is hostile input: metainfo, icons, texts and addresses."""

import pytest

from holdall.errors import CorruptError
from holdall.publish.site import icons, metainfo, plain_text
from holdall.publish.site.metainfo import Block, Metainfo, Run
from storefront import png

BOMB = (
    b'<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa">'
    + b"".join(
        b'<!ENTITY %c "%s">' % (letter, (b"&%c;" % (letter - 1)) * 10) for letter in b"bcdefghij"
    )
    + b"]><component><name>&j;</name></component>"
)
EXTERNAL = (
    b'<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]><component><name>&a;</name></component>'
)


def read(body: str) -> Metainfo:
    return metainfo.read(f"<component>{body}</component>".encode(), "It")


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(BOMB, id="a billion laughs"),
        pytest.param(EXTERNAL, id="a file of the publisher's"),
        pytest.param(b'<?xml-stylesheet href="x.xsl"?><component/>', id="a stylesheet"),
        pytest.param(b"<component>", id="cut short"),
        pytest.param(b"", id="empty"),
        pytest.param(b"\xff\xfe\x00", id="no text"),
        pytest.param(b"<a>" * 100_000, id="deep"),
        pytest.param(b"<component>" + b"<a/>" * 60_000 + b"</component>", id="many elements"),
        pytest.param(b"<component>" + b"a" * 5_000_000 + b"</component>", id="long"),
        pytest.param(b"<html><name>x</name></html>", id="something else"),
    ],
)
def test_metainfo_that_is_not_safe_to_read_is_refused(data: bytes) -> None:
    with pytest.raises(CorruptError, match=r"^It [^\n]*\.$"):
        metainfo.read(data, "It")


def test_a_summary_of_a_megabyte_is_cut() -> None:
    said = read(f"<summary>{'word ' * 200_000}</summary>")
    assert len(said.summaries[""]) == metainfo.MAX_SUMMARY
    assert said.summaries[""].endswith("…")


def test_a_description_has_a_bound() -> None:
    said = read("<description>" + f"<p>{'word ' * 1000}</p>" * 100 + "</description>")
    assert len(said.descriptions[""]) == 4


def test_direction_and_control_characters_are_taken_out_of_names() -> None:
    said = read("<name>gpj\u202etxt.\u2066evil\u200b\u0085</name>")
    assert said.names[""] == "gpjtxt.evil"


def test_only_paragraphs_lists_emphasis_and_code_are_left_of_a_description() -> None:
    said = read(
        "<description><p>Run <code>it</code>, <b onclick='x()'>bold</b> <em>now</em>"
        "<script>alert(1)</script></p><script>alert(2)</script><ol><li>one</li><p>no</p></ol>"
        "</description>"
    )
    paragraph, numbered = said.descriptions[""]
    assert "".join(run.text for run in paragraph.items[0]) == "Run it, bold nowalert(1)"
    assert [run.style for run in paragraph.items[0]] == ["", "code", "", "", "", "em", ""]
    assert numbered == Block("ol", ((Run("one"),),))


@pytest.mark.parametrize(
    "address",
    [
        "javascript:alert(1)",
        "JaVaScRiPt:alert(1)",
        "data:text/html,<script>alert(1)</script>",
        "file:///etc/passwd",
        "//example.org/",
        "https:///nowhere",
        "https://user:password@example.org/",
        "https://example.org/\u202egnp.exe",
        "https://example.org/ x",
        'https://example.org/"onload="x',
        "https://example.org/'; img-src *",
        "https://[::1",
        "https://example.org:port/",
        "https://example.org/" + "a" * 2000,
        "",
    ],
)
def test_an_address_that_is_not_plainly_of_the_web_is_left_out(address: str) -> None:
    assert plain_text.web_address(address) == ""


def test_addresses_of_the_web_stay() -> None:
    assert plain_text.web_address(" https://example.org/a?b=c&d=%20#e ")
    assert plain_text.origin("https://Example.org:8443/a") == "https://example.org:8443"


def test_links_and_screenshots_that_are_not_of_the_web_are_left_out() -> None:
    said = read(
        '<url type="homepage">javascript:alert(1)</url><url type="faq">https://a.example/</url>'
        '<url type="onclick">https://a.example/</url>'
        "<screenshots><screenshot><image>data:image/png;base64,AAAA</image></screenshot>"
        "<screenshot><image>https://a.example/b.png</image></screenshot></screenshots>"
    )
    assert said.links == {"faq": "https://a.example/"}
    assert [shot.address for shot in said.screenshots] == ["https://a.example/b.png"]


def drawing(body: str, root: str = "") -> bytes:
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" xmlns:x="http://www.w3.org/1999/xlink" {root}>'
        f"{body}</svg>"
    ).encode()


@pytest.mark.parametrize(
    "data",
    [
        drawing("<script>alert(1)</script>"),
        drawing('<path d="M0 0" onclick="alert(1)"/>'),
        drawing("", 'onload="alert(1)"'),
        drawing('<a x:href="javascript:alert(1)"><path/></a>'),
        drawing('<image x:href="https://example.org/track.png"/>'),
        drawing('<image href="//example.org/track.png"/>'),
        drawing('<use href="data:image/svg+xml;base64,AAAA"/>'),
        drawing('<foreignObject><p xmlns="http://www.w3.org/1999/xhtml">x</p></foreignObject>'),
        drawing('<html:script xmlns:html="http://www.w3.org/1999/xhtml">x</html:script>'),
        drawing("<style>@import 'https://example.org/a.css';</style>"),
        drawing("<style>path{fill:url(https://example.org/a.svg#b)}</style>"),
        drawing('<path style="fill:url( &quot;https://example.org/a&quot;)"/>'),
        drawing('<path style="f\\69ll:u\\72l(https://example.org/)"/>'),
        drawing('<set attributeName="href" to="javascript:alert(1)"/>'),
        b"<?xml-stylesheet href='x.xsl' type='text/xsl'?>" + drawing(""),
        b'<!DOCTYPE svg [<!ENTITY a "b">]>' + drawing("&a;"),
        b"<html xmlns='http://www.w3.org/1999/xhtml'/>",
        b"not a drawing",
    ],
)
def test_a_drawing_that_does_more_than_draw_is_no_icon(data: bytes) -> None:
    with pytest.raises(CorruptError):
        icons.icon("share/icons/hicolor/scalable/apps/a.svg", data)


def test_a_drawing_as_editors_write_it_is_an_icon() -> None:
    data = drawing(
        '<defs><linearGradient id="a"/></defs><path fill="url(#a)" style="stroke:url(\'#a\')"/>'
        '<image x:href="data:image/png;base64,AAAA"/><use x:href="#a"/>',
        'xmlns:inkscape="http://www.inkscape.org/namespaces/inkscape"'
        ' inkscape:export-filename="C:\\icons\\a.png"',
    )
    assert icons.icon("a.svg", data).kind == "svg"


@pytest.mark.parametrize("data", [b"", b"\x89PNG\r\n\x1a\n", png(64)[:20], b"<svg/>", png(2048)])
def test_what_is_no_picture_of_a_reasonable_size_is_no_icon(data: bytes) -> None:
    with pytest.raises(CorruptError):
        icons.icon("a.png", data)


def test_the_largest_icon_that_fits_comes_first() -> None:
    paths = [
        f"share/icons/hicolor/{place}/apps/org.example.A{end}"
        for place, end in (
            ("48x48", ".png"),
            ("512x512", ".png"),
            ("scalable", ".svg"),
            ("256x256", ".png"),
            ("symbolic", "-symbolic.svg"),
            ("64x64", ".xpm"),
            ("64x64@2", ".Other.png"),
        )
    ]
    found = icons.candidates(paths, "org.example.A")
    assert [path.split("/")[3] for path in found] == ["256x256", "scalable", "48x48", "64x64@2"]
