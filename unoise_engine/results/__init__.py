"""What one explained case leaves behind: files, pictures, a report, DICOM objects."""
