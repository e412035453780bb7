"""The theme of the page, its style sheet and script. Fonts are those of the visitor's system: nothing is fetched."""

from __future__ import annotations

from pathlib import Path

import gradio as gr

HERE = Path(__file__).resolve().parent
CSS = HERE / "page.css"
ACCENT, ON_ACCENT, ACCENT_DARK, ON_ACCENT_DARK = "#2f5d8a", "#ffffff", "#8fbbe6", "#0d1620"
QUIET, QUIET_DARK, LINE, LINE_DARK = "#5b6270", "#b3bac6", "#dfe2e8", "#363c47"


def theme() -> gr.themes.Base:
    """Quiet greys and one blue, for light and dark."""
    base = gr.themes.Base(
        primary_hue="blue", secondary_hue="blue", neutral_hue="slate", radius_size="md", spacing_size="md",
        font=["system-ui", "-apple-system", "Segoe UI", "Roboto", "sans-serif"],
        font_mono=["ui-monospace", "Consolas", "monospace"],
    )  # fmt: skip
    return base.set(
        body_background_fill="#ffffff", body_background_fill_dark="#15181e",
        body_text_color="#1d2129", body_text_color_dark="#eceff4",
        body_text_color_subdued=QUIET, body_text_color_subdued_dark=QUIET_DARK,
        background_fill_primary="#ffffff", background_fill_primary_dark="#15181e",
        background_fill_secondary="#f5f6f8", background_fill_secondary_dark="#1c2027",
        block_background_fill="#ffffff", block_background_fill_dark="#1c2027",
        block_border_color=LINE, block_border_color_dark=LINE_DARK, block_border_width="1px", block_shadow="none",
        block_info_text_color=QUIET, block_info_text_color_dark=QUIET_DARK, block_info_text_size="13px",
        block_title_text_color="#1d2129", block_title_text_color_dark="#eceff4", block_title_text_weight="500",
        block_label_text_color=QUIET, block_label_text_color_dark=QUIET_DARK,
        border_color_primary=LINE, border_color_primary_dark=LINE_DARK, border_color_accent=ACCENT,
        border_color_accent_dark=ACCENT_DARK, color_accent=ACCENT, color_accent_soft="#e8eef5",
        color_accent_soft_dark="#25313f", input_background_fill="#ffffff", input_background_fill_dark="#15181e",
        input_border_color="#c4c9d2", input_border_color_dark="#4a5260", input_border_width="1px",
        input_border_color_focus=ACCENT, input_border_color_focus_dark=ACCENT_DARK,
        input_placeholder_color=QUIET, input_placeholder_color_dark=QUIET_DARK,
        slider_color=ACCENT, slider_color_dark=ACCENT_DARK, loader_color=ACCENT, loader_color_dark=ACCENT_DARK,
        checkbox_background_color_selected=ACCENT, checkbox_background_color_selected_dark="#3f78b0",
        checkbox_border_color_selected=ACCENT, checkbox_border_color_selected_dark="#3f78b0",
        button_primary_background_fill=ACCENT, button_primary_background_fill_dark=ACCENT_DARK,
        button_primary_background_fill_hover="#254b70", button_primary_background_fill_hover_dark="#a8cbed",
        button_primary_text_color=ON_ACCENT, button_primary_text_color_dark=ON_ACCENT_DARK,
        button_secondary_background_fill="#f0f2f5", button_secondary_background_fill_dark="#2a303a",
        button_secondary_text_color="#1d2129", button_secondary_text_color_dark="#eceff4",
        link_text_color=ACCENT, link_text_color_dark=ACCENT_DARK,
    )  # fmt: skip


def head(title: str, text: str, picture: str) -> str:
    """The script, and what a link to the page shows elsewhere."""
    script = (HERE / "page.js").read_text(encoding="utf-8")
    return (
        f'<meta name="description" content="{text}"><meta property="og:title" content="{title}">'
        f'<meta property="og:description" content="{text}"><meta property="og:image" content="{picture}">'
        f'<meta name="twitter:card" content="summary_large_image"><script>{script}</script>'
    )
