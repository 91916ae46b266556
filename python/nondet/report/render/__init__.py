"""Render a document: terminal, HTML, Markdown, CSV, LaTeX and figures."""
