"""The compiled module is CMake's work: see CMakeLists.txt."""

from setuptools import setup

setup(cmake_source_dir=".")
