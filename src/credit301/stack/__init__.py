"""The platform's processes on one machine: which there are, how they start, how one knows that they are well."""
